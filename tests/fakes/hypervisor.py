"""A hypervisor of whose overlays nobody asks: what the fakes of one machine have in common."""

from collections.abc import Sequence

from orchestrator.clock import Deadline
from orchestrator.model import Disk, Overlay


class WithoutOverlays:
    """Nothing of a snapshot is there, and nothing is to be released."""

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        raise NotImplementedError

    def open_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        raise NotImplementedError

    def snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        raise NotImplementedError

    def has_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> bool:
        raise NotImplementedError

    def close_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass
