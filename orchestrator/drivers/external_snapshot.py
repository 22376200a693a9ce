"""External snapshots: each disk goes on in a new overlay file, and what is below it is the point in time."""

import contextlib
import json
import os
import re
import stat
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.clock import Deadline, Task
from orchestrator.drivers import check_options
from orchestrator.drivers.merging import merge, space
from orchestrator.drivers.whole import backing
from orchestrator.errors import ConfigError, OutcomeUnknown, Rejected
from orchestrator.model import NAME_PREFIX, Disk, Overlay, Place, Power, Progress
from orchestrator.ports import DriverContext, Merges, MergingHypervisor, Plan
from orchestrator.programs import run

#: The part of a file's name that an earlier snapshot gave it.
_EARLIER = re.compile(rf"\.{NAME_PREFIX}[^.]+")

#: Bytes of `qemu-img info` that are read: some 600 for each layer of a chain.
CHAIN_LIMIT = 4 * 1024 * 1024

#: Seconds that one call of a removal may take.
_CALL = 30.0


class ExternalSnapshot:
    """An atomic snapshot of all writable disks of a machine, without a copy of any data.

    On this host, the overlay files are made before the freeze, so that the cut makes none; elsewhere libvirt makes
    them, in the cut. The machine runs on the overlays from the cut on, and the next snapshot is put on those.
    """

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError when the job has options, or the machine no hypervisor."""
        check_options(context, ())
        if context.hypervisor is None:
            raise ConfigError(
                f"job {context.job}: the machine {context.machine.name} has neither `hypervisor` nor `qmp`; "
                "the driver external-snapshot needs one of them"
            )
        self._hypervisor, self._clock = context.hypervisor, context.clock

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        """The disks of the machine, and the overlay beside each: `STEM.SNAPSHOT.qcow2`.

        Raises Rejected when there is nothing to snapshot, or an overlay's file exists.
        """
        disks = self._hypervisor.disks(deadline)
        if not disks:
            raise Rejected("the machine has no writable disk")
        overlays = _overlay_paths([Path(disk.path) for disk in disks], snapshot)
        for overlay in overlays:
            if self._hypervisor.local and overlay.exists():
                raise Rejected(f"{overlay} exists already")
        planned = zip(disks, overlays, strict=True)
        return {"snapshot": snapshot, "disks": [{**asdict(disk), "overlay": str(overlay)} for disk, overlay in planned]}

    def prepare(self, plan: Plan, deadline: Deadline) -> None:
        """Make the overlay files, all at once and durably, and let QEMU open them.

        Raises Rejected when a file exists, or cannot be made: the message holds what qemu-img said.
        """
        if self._hypervisor.local:
            making = [
                Task(self._clock, f"make {overlay.path}", partial(_create, overlay, deadline))
                for overlay in overlays_of(plan)
            ]
            for task in making:  # each to its end, whatever became of the others: `discard` comes after all of them
                task.join()
            for task in making:
                task.result()
        self._hypervisor.open_overlays(overlays_of(plan), deadline)

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Move all disks onto their overlays at once."""
        self._hypervisor.snapshot(plan["snapshot"], overlays_of(plan), deadline)
        return made(plan)

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """What the cut made, when the machine stands on one of its overlays: a cut moves all disks or none."""
        return made(plan) if self._in_use(plan, deadline) else None

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        """Remove the overlay files, after QEMU has let go of them.

        Raises Rejected, and removes nothing, when the machine stands on one of them, or wrote into one before it was
        started anew on other disks; other kinds of CallError, and removes nothing, when that cannot be told.
        """
        if not self._hypervisor.local:
            return  # libvirt made the files in the cut, and removed them when it failed
        if self._in_use(plan, deadline):
            raise Rejected(f"the machine stands on the overlays of {plan['snapshot']}: nothing was removed")
        self._hypervisor.close_overlays(overlays_of(plan), deadline)
        for overlay in overlays_of(plan):
            if NAME_PREFIX not in Path(overlay.path).name:
                raise Rejected(f"{overlay.path} does not carry our name: nothing was removed")
            if _is_written(overlay.path, deadline):
                raise Rejected(f"{overlay.path} holds what a guest has written: nothing was removed")
        for overlay in overlays_of(plan):
            _remove(Path(overlay.path))

    def places(self, made: Mapping[str, Any], deadline: Deadline) -> tuple[Place, ...]:
        """Of each disk the file directly below the cut's overlay, in the chain that the machine stands on now."""
        places = []
        for name, chain in self._merges().chains(deadline).items():
            for overlay in {disk["overlay"] for disk in made["disks"]} & set(chain[:-1]):
                path, *below = chain[chain.index(overlay) + 1 :]
                places.append(Place(name, path, space(path), below[0] if below else None))
        if not places:
            raise Rejected(f"the machine does not stand on the overlays of {made['name']}, or it is off")
        return tuple(places)

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        """Merge the overlays of a cut, disk by disk, each into the file directly below it, and remove their files.

        Below an overlay is its own cut's point in time and nothing else: every other one reads the same afterwards.
        Raises Rejected, and removes nothing, when the machine is off, and where an overlay that a guest wrote into left
        its chain in another way than by our merge: somebody has gone back to a point in time, or a bare QEMU was
        started anew on an older file.
        """
        merges = self._merges()
        # Before its chains: of those, a machine that is off may tell no more than the top.
        if self._hypervisor.power(deadline.within(_CALL)) is Power.OFF:
            raise Rejected("the machine is off: its overlays are merged when it runs")
        chains = merges.chains(deadline.within(_CALL))
        for name, overlay in ((disk["name"], disk["overlay"]) for disk in made["disks"]):
            if made["name"] not in Path(overlay).name or NAME_PREFIX not in made["name"]:
                raise Rejected(f"{overlay} does not carry our name: nothing was removed")
            disk = next((each for each, chain in chains.items() if overlay in chain), None)
            if disk is not None:
                for progress in merge(merges, disk, overlay, deadline, attach=disk in begun):
                    yield disk, progress
            elif self._hypervisor.local:
                self._check_merged(overlay, chains, deadline.within(_CALL), begun=name in begun)
            merges.close(overlay, deadline.within(_CALL))
            if self._hypervisor.local:
                _remove(Path(overlay))

    def give_way(self, made: Mapping[str, Any], deadline: Deadline) -> None:
        """Cancel the merges of a cut's overlays, and let QEMU close those that are merged: they block a cut, too."""
        merges = self._merges()
        chains = merges.chains(deadline)
        for overlay in (disk["overlay"] for disk in made["disks"]):
            disk = next((name for name, chain in chains.items() if overlay in chain), None)
            if disk is not None:
                merges.cancel(disk, overlay, deadline)
            else:
                merges.close(overlay, deadline)

    def close(self) -> None:
        """Nothing to release: the hypervisor belongs to who made it."""

    def _merges(self) -> Merges:
        assert isinstance(self._hypervisor, MergingHypervisor)
        return self._hypervisor.merges

    def _check_merged(
        self, overlay: str, chains: Mapping[str, tuple[str, ...]], deadline: Deadline, *, begun: bool
    ) -> None:
        """Raise Rejected when an overlay on which no disk stands may hold what a guest wrote, and nobody merged."""
        if not (begun and _was_merged(overlay, chains, deadline)) and _is_written(overlay, deadline):
            why = "and it is not known to be merged: a guest's data may be in it"
            raise Rejected(f"the machine does not stand on {overlay}, {why}")

    def _in_use(self, plan: Plan, deadline: Deadline) -> bool:
        """Whether the machine stands on an overlay. When it is off, its hypervisor may know no more than the top of
        each chain; then the files tell.
        """
        overlays = overlays_of(plan)
        if self._hypervisor.has_snapshot(plan["snapshot"], overlays, deadline):
            return True
        if not self._hypervisor.local or self._hypervisor.power(deadline) is not Power.OFF:
            return False
        ours = {overlay.path for overlay in overlays}
        return any(ours & _chain(disk.path, deadline) for disk in self._hypervisor.disks(deadline))


def made(plan: Plan) -> Mapping[str, Any]:
    """For each disk the file that holds the point in time, and the overlay that the machine goes on with."""
    return {"disks": [{key: disk[key] for key in ("name", "path", "format", "overlay")} for disk in plan["disks"]]}


def overlays_of(plan: Plan) -> list[Overlay]:
    """The overlays that a plan names."""
    return [
        Overlay(Disk(**{key: value for key, value in disk.items() if key != "overlay"}), disk["overlay"])
        for disk in plan["disks"]
    ]


def _overlay_paths(disks: Sequence[Path], snapshot: str) -> list[Path]:
    """Where the overlays go. The suffix stays in the name where two disks, `vm.raw` and `vm.qcow2`, differ in it alone.

    Raises Rejected when two names differ in nothing but an earlier snapshot.
    """

    def beside(disk: Path, name: str) -> Path:
        return disk.with_name(f"{_EARLIER.sub('', name)}.{snapshot}.qcow2")

    short = [beside(disk, disk.stem) for disk in disks]
    chosen = [
        path if short.count(path) == 1 else beside(disk, disk.name) for disk, path in zip(disks, short, strict=True)
    ]
    for path in chosen:
        if chosen.count(path) > 1:
            raise Rejected(f"two disks of the machine would have the same overlay {path}")
    return chosen


def _create(overlay: Overlay, deadline: Deadline) -> None:
    """Make an empty overlay file, as readable as the file that it stands on, and never over another one."""
    path, below = overlay.path, overlay.disk.path
    try:
        model = Path(below).stat()
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(made):
            # Only root may give a file away. libvirt does it too, and a bare QEMU opens the file before the freeze.
            with contextlib.suppress(PermissionError):
                os.fchown(made, model.st_uid, model.st_gid)
            os.fchmod(made, stat.S_IMODE(model.st_mode))
    except OSError as error:
        raise Rejected(f"cannot make the overlay {path}: {error.strerror}") from error
    # `-u`: the file below is locked by QEMU, and everything that qemu-img would look up in it is known.
    options = ["-q", "-f", "qcow2", "-u", "-b", below, "-F", overlay.disk.format]
    ended = run(["qemu-img", "create", *options, path, str(overlay.disk.size_bytes)], deadline)
    if ended.status != 0:
        raise Rejected(f"cannot make the overlay {path}: {ended.output}")
    _sync(Path(path))
    _sync(Path(path).parent)


def _was_merged(overlay: str, chains: Mapping[str, tuple[str, ...]], deadline: Deadline) -> bool:
    """Whether the machine stands on the file below an overlay, with another one on it: where a merge was begun and its
    end was not seen, that is how it ended. Without another one on it, it may as well have been started anew there.
    """
    if not Path(overlay).exists():
        return True
    below = backing(overlay, deadline)
    return any(below in chain[1:] for chain in chains.values())


def _is_written(path: str, deadline: Deadline) -> bool:
    """Whether there is any data in an overlay, without what is below it, which may be in use."""
    if not Path(path).exists() or not Path(path).stat().st_size:
        return False
    alone = {"driver": "qcow2", "backing": None, "file": {"driver": "file", "filename": path}}
    ended = run(["qemu-img", "map", "-U", "--output=json", f"json:{json.dumps(alone)}"], deadline, keep=CHAIN_LIMIT)
    try:
        return any(extent["present"] for extent in json.loads(ended.output))
    except (ValueError, KeyError, TypeError) as error:
        raise OutcomeUnknown(f"cannot tell whether {path} holds data: {ended.output}") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Rejected(f"cannot remove the overlay {path}: {error.strerror}") from error
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Make a file's contents, or the names in a folder, survive a loss of power."""
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
    except OSError as error:
        raise Rejected(f"cannot write {path}: {error.strerror}") from error


def _chain(path: str, deadline: Deadline) -> set[str]:
    """The files of a chain, from `path` to the bottom, as the files themselves tell."""
    ended = run(["qemu-img", "info", "--backing-chain", "--output=json", path], deadline, keep=CHAIN_LIMIT)
    try:
        return {str(image["filename"]) for image in json.loads(ended.output)}
    except (ValueError, KeyError, TypeError) as error:
        raise OutcomeUnknown(f"cannot tell what {path} stands on: {ended.output}") from error
