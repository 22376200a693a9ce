"""A QEMU process without libvirt, through its QMP monitor.

Commands and replies: qapi/block-core.json, qapi/migration.json, qapi/run-state.json and qapi/transaction.json in QEMU.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.errors import Rejected
from orchestrator.hypervisor.monitor import Monitor
from orchestrator.hypervisor.names import node_name
from orchestrator.hypervisor.qmp_copies import BareCopies
from orchestrator.hypervisor.qmp_merges import BareMerges
from orchestrator.model import Disk, Overlay, Power

#: Values of `MigrationStatus` with which no migration is under way; a value that we do not know is one that is.
_NO_MIGRATION = ("none", "completed", "failed", "cancelled")
_POWER = {
    "running": Power.RUNNING,
    "shutdown": Power.OFF,
    "inmigrate": Power.MIGRATING,
    "finish-migrate": Power.MIGRATING,
    "postmigrate": Power.MIGRATING,
}


class BareMachine:
    """One QEMU process as `ports.Hypervisor`. Connects when first used."""

    local = True

    def __init__(self, socket: str) -> None:
        """`socket` is the path of the monitor's unix socket."""
        self._monitor = Monitor(socket)
        self.copies = BareCopies(self._monitor)
        self.merges = BareMerges(self._monitor, self._chains)

    def power(self, deadline: Deadline) -> Power:
        """What the machine is doing, by `query-status` and `query-migrate`."""
        status = self._monitor.ask("query-status", lambda reply: str(reply["status"]), deadline)
        migration = self._monitor.ask("query-migrate", lambda reply: str(reply.get("status", "none")), deadline)
        if migration not in _NO_MIGRATION:
            return Power.MIGRATING
        # Whatever else there is (io-error, internal-error, prelaunch, ...), its processors stand still.
        return _POWER.get(status, Power.PAUSED)

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        """The writable media that the guest has and cannot eject, by `query-block`.

        Raises Rejected for one that is not a file with an absolute path.
        """
        return self._monitor.ask(
            "query-block", lambda reply: tuple(_disk(block) for block in _writable(reply)), deadline
        )

    def open_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Let QEMU open the overlay files (`blockdev-add`), so that the cut itself opens nothing.

        An overlay is opened without its backing file (`backing: null`), as `blockdev-snapshot` demands, and is cached
        like the disk that it will stand on. Raises Rejected when that disk has changed since it was planned.
        """
        modes = self._monitor.ask("query-block", _write_modes, deadline)
        opened = self._nodes(deadline)
        for overlay in overlays:
            if _node(overlay) in opened:
                continue
            if overlay.disk.node not in modes:
                raise Rejected(f"the disk {overlay.disk.name} no longer stands on {overlay.disk.path}")
            self._monitor.execute("blockdev-add", _options(overlay, modes[overlay.disk.node]), deadline)

    def snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """One `transaction` of `blockdev-snapshot` actions: QEMU carries out all of them or none."""
        actions = [
            {"type": "blockdev-snapshot", "data": {"node": overlay.disk.node, "overlay": _node(overlay)}}
            for overlay in overlays
        ]
        self._monitor.execute("transaction", {"actions": actions}, deadline)

    def has_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> bool:
        """Whether a disk stands on one of the overlays now, be it the top of its chain or below."""
        used = self._monitor.ask(
            "query-block", lambda reply: {path for block in reply for path in _chain(block)}, deadline
        )
        return any(overlay.path in used for overlay in overlays)

    def _chains(self, deadline: Deadline) -> dict[str, tuple[str, ...]]:
        def read(reply: Any) -> dict[str, tuple[str, ...]]:
            return {_disk(block).name: tuple(_chain(block)) for block in _writable(reply)}

        return self._monitor.ask("query-block", read, deadline)

    def close_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Let go of overlays that were opened (`blockdev-del`). QEMU refuses for one that is in use: Rejected."""
        opened = self._nodes(deadline)
        for overlay in overlays:
            if _node(overlay) in opened:
                self._monitor.execute("blockdev-del", {"node-name": _node(overlay)}, deadline)

    def close(self) -> None:
        """Let go of the monitor."""
        self._monitor.close()

    def _nodes(self, deadline: Deadline) -> frozenset[str]:
        def names(reply: Any) -> frozenset[str]:
            return frozenset(str(node["node-name"]) for node in reply)

        return self._monitor.ask("query-named-block-nodes", names, deadline, flat=True)


def _node(overlay: Overlay) -> str:
    return node_name(overlay.path)


def _options(overlay: Overlay, mode: dict[str, Any]) -> dict[str, Any]:
    """The `BlockdevOptions` of an overlay. A guest's discards give the space in it back to the host."""
    file = {"driver": "file", "filename": overlay.path, "discard": "unmap", "cache": mode["cache"]}
    return {"driver": "qcow2", "node-name": _node(overlay), "discard": "unmap", "backing": None, "file": file, **mode}


def _writable(blocks: Any) -> Iterator[dict[str, Any]]:
    """The entries of `query-block` that a guest can write and not eject, without the firmware's variables."""
    for block in blocks:
        device = block.get("qdev", "")
        plugged = device and not device.startswith("/machine/system.flash")
        if plugged and not block["removable"] and "inserted" in block and not block["inserted"]["ro"]:
            yield block


def _write_modes(blocks: Any) -> dict[str, dict[str, Any]]:
    """For each disk's top node, the options that say how it is written: a snapshot must not change them."""
    modes = {}
    for block in _writable(blocks):
        inserted = block["inserted"]
        cache = {key: bool(inserted["cache"][key]) for key in ("direct", "no-flush")}
        modes[str(inserted["node-name"])] = {"cache": cache, "detect-zeroes": str(inserted["detect_zeroes"])}
    return modes


def _disk(block: dict[str, Any]) -> Disk:
    inserted = block["inserted"]
    path = _file(inserted["image"]["filename"])
    name = block["device"] or re.sub(r"^/machine/peripheral/([^/]+)(/.*)?$", r"\1", block["qdev"])
    if not Path(path).is_absolute() or Path(path).is_block_device():
        raise Rejected(f"the disk {name} ({path}) cannot be put on a file overlay: it is not a file with a full path")
    return Disk(name, inserted["node-name"], path, inserted["drv"], int(inserted["image"]["virtual-size"]))


def _chain(block: dict[str, Any]) -> Iterator[str]:
    """The files of one disk, from the top of its chain to the bottom."""
    image = block.get("inserted", {}).get("image")
    while image:
        yield _file(image["filename"])
        image = image.get("backing-image")


def _file(filename: str) -> str:
    """The file behind a QEMU file name, which is a `json:` description where a plain path would not open the same."""
    if not filename.startswith("json:"):
        return filename
    options = json.loads(filename.removeprefix("json:"))
    while isinstance(options.get("file"), dict):
        options = options["file"]
    return str(options.get("filename") or options["driver"])
