"""A machine that is nothing but the files of its disks."""

from collections.abc import Sequence
from pathlib import Path

from orchestrator.clock import Deadline
from orchestrator.model import Disk, Overlay, Power


class Shelf:
    """A machine that is nothing but disks; it is off, and stands on what it is given."""

    def __init__(self, *disks: Path, local: bool = True) -> None:
        self.local = local
        self._disks = disks

    def power(self, deadline: Deadline) -> Power:
        return Power.OFF

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        names = [f"vd{chr(ord('a') + slot)}" for slot in range(len(self._disks))]
        return tuple(
            Disk(name, name, str(path), "qcow2" if path.suffix == ".qcow2" else "raw", 1 << 20)
            for name, path in zip(names, self._disks, strict=True)
        )

    def open_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        pass

    def snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        raise NotImplementedError

    def has_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> bool:
        return False

    def close_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        pass

    def close(self) -> None:
        pass
