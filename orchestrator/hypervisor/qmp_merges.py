"""Merging overlays of a bare QEMU, by `block-commit` jobs.

Jobs are not dismissed by themselves, so that any process can ask at any time later how one ended. Commands and replies:
qapi/block-core.json and qapi/job.json in QEMU.
"""

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.hypervisor.monitor import Monitor
from orchestrator.hypervisor.names import node_name
from orchestrator.model import Progress

#: Seconds between two looks at a job that was cancelled.
_LOOK = 0.1

Chains = Callable[[Deadline], Mapping[str, tuple[str, ...]]]


class BareMerges:
    """Keeps the promises of `ports.Merges` for one QEMU. A job has the name of the overlay that it merges."""

    def __init__(self, monitor: Monitor, chains: Chains) -> None:
        self._monitor = monitor
        self.chains = chains

    def begin(self, disk: str, overlay: str, below: str, deadline: Deadline) -> None:
        """`block-commit` of one layer. The name below is written into the layer above, as a path and not as a node."""
        top, *_ = self.chains(deadline)[disk]
        nodes = self._nodes(deadline)
        if missing := {top, overlay, below} - nodes.keys():
            raise Rejected(f"QEMU has no qcow2 or raw image open for {', '.join(sorted(missing))}")
        options: dict[str, Any] = {
            "job-id": node_name(overlay),
            "device": nodes[top],
            "top-node": nodes[overlay],
            "base-node": nodes[below],
            "auto-dismiss": False,
        }
        if overlay != top:
            options["backing-file"] = below
        self._monitor.execute("block-commit", options, deadline)

    def progress(self, disk: str, overlay: str, deadline: Deadline) -> Progress | None:
        """By `query-block-jobs`. One that is ready is completed, one that has concluded is dismissed."""
        name = node_name(overlay)
        job = self._job(name, deadline)
        if job is None:
            return None
        error, done, total = job.get("error"), int(job["offset"]), int(job["len"])
        if job["status"] == "ready":
            self._monitor.execute("job-complete", {"id": name}, deadline)
        if job["status"] == "concluded":
            self._monitor.execute("job-dismiss", {"id": name}, deadline)
            if error is not None:
                raise Rejected(f"QEMU could not merge {overlay}: {error}")
        return Progress(done, total, ended=False)

    def cancel(self, disk: str, overlay: str, deadline: Deadline) -> None:
        """`block-job-cancel`, and wait for the end: until then the disk takes no other job.

        One that had just ended leaves its overlay open, on top of what is active now, and would block the next cut.
        """
        name = node_name(overlay)
        asked = False
        while (job := self._job(name, deadline)) is not None:
            if job["status"] == "concluded":
                self._monitor.execute("job-dismiss", {"id": name}, deadline)
            elif not asked:
                self._monitor.execute("block-job-cancel", {"device": name, "force": True}, deadline)
                asked = True
            elif deadline.passed:
                raise OutcomeUnknown(f"QEMU did not end the merge of {overlay} in time")
            else:
                deadline.clock.sleep(_LOOK)
        if not any(overlay in chain for chain in self.chains(deadline).values()):
            self.close(overlay, deadline)

    def close(self, overlay: str, deadline: Deadline) -> None:
        """`blockdev-del` of what has this file open: the image, and then the file itself where that has a name.

        A merge that ended when its pruning had been killed holds the image until it is dismissed.
        """
        name = node_name(overlay)
        if (job := self._job(name, deadline)) is not None and job["status"] == "concluded":
            self._monitor.execute("job-dismiss", {"id": name}, deadline)
        opened = self._monitor.ask("query-named-block-nodes", lambda reply: _using(reply, overlay), deadline, flat=True)
        for node in opened:
            if not node.startswith("#"):  # QEMU's own names go with what they are for
                self._monitor.execute("blockdev-del", {"node-name": node}, deadline)

    def _nodes(self, deadline: Deadline) -> Mapping[str, str]:
        """The node of each image, by its file."""

        def images(reply: Any) -> dict[str, str]:
            return {str(node["file"]): str(node["node-name"]) for node in reply if node["drv"] in {"qcow2", "raw"}}

        return self._monitor.ask("query-named-block-nodes", images, deadline, flat=True)

    def _job(self, name: str, deadline: Deadline) -> Mapping[str, Any] | None:
        def find(reply: Any) -> Mapping[str, Any] | None:
            return next((job for job in reply if job["device"] == name), None)

        return self._monitor.ask("query-block-jobs", find, deadline)


def _using(nodes: Any, path: str) -> list[str]:
    """The nodes that have a file open, the images before the file itself."""
    using = [node for node in nodes if node["file"] == path]
    return [str(node["node-name"]) for node in sorted(using, key=lambda node: bool(node["drv"] == "file"))]
