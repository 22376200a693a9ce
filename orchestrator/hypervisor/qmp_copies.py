"""Copies of a bare QEMU's disks: `blockdev-backup` jobs, and dirty bitmaps as checkpoints.

Jobs are not dismissed by themselves, so that any process can ask at any time later how one ended. Commands and replies:
qapi/block-core.json and qapi/job.json in QEMU; docs/interop/bitmaps.rst there.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.hypervisor.monitor import Monitor
from orchestrator.hypervisor.names import node_name
from orchestrator.hypervisor.pace import STILL, share
from orchestrator.model import Disk, DiskCopy, Progress

#: Seconds between two looks at a job that was cancelled.
_LOOK = 0.1


@dataclass(frozen=True)
class _Job:
    """A `BlockJobInfo`."""

    name: str
    going: bool
    error: str | None
    done_bytes: int
    total_bytes: int
    speed: int

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "_Job":
        going, error = told["status"] != "concluded", told.get("error")
        return cls(str(told["device"]), going, error, int(told["offset"]), int(told["len"]), int(told["speed"]))


@dataclass(frozen=True)
class _Node:
    """What a `BlockDeviceInfo` says of bitmaps."""

    #: The image can hold bitmaps: it is a qcow2 of version 3.
    keeps: bool
    #: For each bitmap the bytes that have changed; None for one that is broken.
    changed: Mapping[str, int | None]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "_Node":
        details = told["image"].get("format-specific", {}).get("data", {})
        bitmaps = [bitmap for bitmap in told.get("dirty-bitmaps", []) if "name" in bitmap]
        changed = {
            str(bitmap["name"]): int(bitmap["count"])
            if bitmap["recording"] and not bitmap.get("inconsistent", False)
            else None
            for bitmap in bitmaps
        }
        return cls(told["drv"] == "qcow2" and details.get("compat") == "1.1", changed)


class BareCopies:
    """Keeps the promises of `ports.Copies` through one monitor."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def definition(self, deadline: Deadline) -> str | None:
        """None: what QEMU was started with, it does not tell."""
        return None

    def changed(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> int:
        """See `ports.Copies`. A bitmap that is not in an image survives no restart of QEMU; one that is, no crash."""
        nodes, total = self._nodes(deadline), 0
        for disk in disks:
            bitmaps = nodes[disk.node].changed if disk.node in nodes else {}
            if checkpoint not in bitmaps:
                raise Rejected(f"the disk {disk.name} has no dirty bitmap {checkpoint}: QEMU, or the image, is another")
            changed = bitmaps[checkpoint]
            if changed is None:
                raise Rejected(f"the dirty bitmap {checkpoint} of the disk {disk.name} is broken: QEMU ended uncleanly")
            total += changed
        return total

    def open(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Open the files (`blockdev-add`), and add bitmaps that note nothing yet, in the images where they can be."""
        nodes = self._nodes(deadline)
        for copy in copies:
            name, disk = node_name(copy.path), copy.disk.node
            if disk not in nodes:
                raise Rejected(f"the disk {copy.disk.name} no longer stands on {copy.disk.path}")
            if name not in nodes:
                file = {"driver": "file", "filename": copy.path}
                self._monitor.execute("blockdev-add", {"driver": "qcow2", "node-name": name, "file": file}, deadline)
            if checkpoint not in nodes[disk].changed:
                bitmap = {"node": disk, "name": checkpoint, "disabled": True, "persistent": nodes[disk].keeps}
                self._monitor.execute("block-dirty-bitmap-add", bitmap, deadline)

    def begin(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """One `transaction`: QEMU does all of it or nothing. The bitmap `since` stays as it is, whatever comes."""
        what: dict[str, Any] = {"speed": STILL, "auto-dismiss": False}
        what |= {"sync": "full"} if since is None else {"sync": "bitmap", "bitmap": since, "bitmap-mode": "never"}
        enable = [
            {"type": "block-dirty-bitmap-enable", "data": {"node": copy.disk.node, "name": checkpoint}}
            for copy in copies
        ]
        backup = [
            {
                "type": "blockdev-backup",
                "data": {
                    "job-id": node_name(copy.path),
                    "device": copy.disk.node,
                    "target": node_name(copy.path),
                    **what,
                },
            }
            for copy in copies
        ]
        self._monitor.execute("transaction", {"actions": enable + backup}, deadline)

    def progress(self, copies: Sequence[DiskCopy], rate: int | None, deadline: Deadline) -> Progress:
        """See `ports.Copies`; by `query-block-jobs`."""
        jobs = self._jobs(deadline)
        ours = []
        for copy in copies:
            job = jobs.get(node_name(copy.path))
            if job is None:
                raise Rejected(f"QEMU knows nothing of the copy of the disk {copy.disk.name}: it was started anew")
            if job.error is not None:
                raise Rejected(f"the copy of the disk {copy.disk.name} failed: {job.error}")
            ours.append(job)
        if self._is_paused_by_error(deadline):
            raise Rejected("QEMU paused the machine because it could not write: is the repository's disk full?")
        going = [job for job in ours if job.going]
        self._set_speed(going, share(rate, len(going)), deadline)
        done, total = sum(job.done_bytes for job in ours), sum(job.total_bytes for job in ours)
        return Progress(done, total, ended=not going)

    def end(self, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Cancel the jobs, wait for their end, and close the files. What QEMU was sent before, it has done by then."""
        names = [node_name(copy.path) for copy in copies]
        while going := [job for job in self._of(names, deadline) if job.going]:
            if deadline.passed:
                raise OutcomeUnknown("QEMU has not ended the copies yet")
            for job in going:
                with suppress(Rejected):  # it has just ended by itself
                    self._monitor.execute("block-job-cancel", {"device": job.name}, deadline)
            deadline.clock.sleep(_LOOK)
        left = self._of(names, deadline)
        if left and self._is_paused_by_error(deadline):
            self._monitor.execute("cont", {}, deadline)
        for job in left:
            self._monitor.execute("job-dismiss", {"id": job.name}, deadline)
        nodes = self._nodes(deadline)
        for name in names:
            if name in nodes:
                self._monitor.execute("blockdev-del", {"node-name": name}, deadline)

    def forget(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> None:
        """Remove the bitmaps of that name, also from an image that a disk has since been given an overlay on."""
        for node, found in self._nodes(deadline).items():
            if checkpoint in found.changed:
                self._monitor.execute("block-dirty-bitmap-remove", {"node": node, "name": checkpoint}, deadline)

    def leave(self, checkpoint: str, deadline: Deadline) -> None:
        """Nothing: a bitmap is in nobody's way."""

    def _set_speed(self, jobs: Sequence[_Job], speed: int, deadline: Deadline) -> None:
        for job in jobs:
            if job.speed != speed:
                with suppress(Rejected):  # it has just ended
                    self._monitor.execute("block-job-set-speed", {"device": job.name, "speed": speed}, deadline)

    def _is_paused_by_error(self, deadline: Deadline) -> bool:
        return self._monitor.ask("query-status", lambda reply: str(reply["status"]), deadline) == "io-error"

    def _of(self, names: Sequence[str], deadline: Deadline) -> list[_Job]:
        jobs = self._jobs(deadline)
        return [jobs[name] for name in names if name in jobs]

    def _jobs(self, deadline: Deadline) -> dict[str, _Job]:
        def by_name(reply: Any) -> dict[str, _Job]:
            return {job.name: job for job in map(_Job.of, reply)}

        return self._monitor.ask("query-block-jobs", by_name, deadline)

    def _nodes(self, deadline: Deadline) -> dict[str, _Node]:
        def by_name(reply: Any) -> dict[str, _Node]:
            return {str(node["node-name"]): _Node.of(node) for node in reply}

        return self._monitor.ask("query-named-block-nodes", by_name, deadline, flat=True)
