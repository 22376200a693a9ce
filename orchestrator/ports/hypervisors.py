"""A machine seen from outside, and what a hypervisor can do for a cut."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from orchestrator.clock import Deadline
from orchestrator.model import Disk, DiskCopy, Overlay, Power, Progress


class Hypervisor(Protocol):
    """One machine seen from outside: what it does, its disks, and the atomic cut over all of them."""

    #: True when the machine's disk files are on this host, so that we can make overlay files ourselves.
    local: bool

    def power(self, deadline: Deadline) -> Power:
        """What the machine is doing. Raises Rejected when there is no such machine."""
        ...

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        """Its writable disks: everything that a snapshot must contain. Raises Rejected for one that no
        file-based overlay can be put on.
        """
        ...

    def open_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Let QEMU open the overlay files beforehand, where that is possible. Idempotent."""
        ...

    def snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Move all disks onto their overlays at once: all or none. This is the cut; nothing here is slow."""
        ...

    def has_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> bool:
        """Whether that cut happened. Raises OutcomeUnknown or Unreachable when it cannot be told."""
        ...

    def close_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Let go of overlays that were opened and never became active. Idempotent."""
        ...

    def close(self) -> None:
        """Drop the connection. Never raises."""
        ...


@runtime_checkable
class QuiescingHypervisor(Protocol):
    """What a hypervisor has besides when it can freeze and thaw the guest around its own cut."""

    def quiesced_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """`Hypervisor.snapshot`, with the guest frozen by the hypervisor before and thawed after.

        Raises Rejected when the hypervisor says that there is no snapshot, OutcomeUnknown while a freeze may still
        reach the guest.
        """
        ...


class Copies(Protocol):
    """Copies of a running machine's disks, and the checkpoints that tell what has changed since an earlier one.

    A checkpoint is a name under which the hypervisor notes, from a copy's beginning on, what the guest writes. Several
    go on side by side; each costs memory until it is forgotten.
    """

    def definition(self, deadline: Deadline) -> str | None:
        """What another machine like this one is defined by: the domain's XML; None without libvirt."""
        ...

    def changed(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> int:
        """How many bytes of these disks have changed since then. Raises Rejected, with the reason, if nobody knows."""
        ...

    def open(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Let the hypervisor open the files and make ready the checkpoint, as far as it can beforehand. Idempotent."""
        ...

    def begin(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Begin to copy all disks as they are now, or only what has changed since the checkpoint `since`, and to note
        under `checkpoint` what changes from now on: at once, all or none. This is the cut; nothing here is slow.

        Next to nothing is copied before `progress` is asked: first the guest is thawed.
        """
        ...

    def progress(self, copies: Sequence[DiskCopy], rate: int | None, deadline: Deadline) -> Progress:
        """How far the copies are. Those that go on may take `rate` bytes per second from now on, all together; None: as
        many as they can.

        Raises Rejected when one has failed, or nobody knows of it any more.
        """
        ...

    def end(self, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Afterwards nothing is copied to these files, and the hypervisor lets go of them. A machine that it had paused
        because a file could not be written runs on. Idempotent.

        Raises OutcomeUnknown while a beginning that was left behind may still come.
        """
        ...

    def forget(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> None:
        """Afterwards nothing is noted under that name. Idempotent."""
        ...

    def leave(self, checkpoint: str, deadline: Deadline) -> None:
        """Go on noting under that name, in a way that is in nobody's way."""
        ...


class Merges(Protocol):
    """Merging overlays of a running machine, each into the file directly below it."""

    def chains(self, deadline: Deadline) -> Mapping[str, tuple[str, ...]]:
        """For each writable disk, by its name, the files that it stands on now: the top first, and all of them.

        Raises Rejected when the machine is off and cannot tell.
        """
        ...

    def begin(self, disk: str, overlay: str, below: str, deadline: Deadline) -> None:
        """Begin to write what an overlay of a disk holds into the file below it.

        Until it has ended, the machine stands on both, and sees what it saw.
        """
        ...

    def progress(self, disk: str, overlay: str, deadline: Deadline) -> Progress | None:
        """How far the merge on that disk is, also one that another process began; None when there is none any more.

        One that has copied everything is ended here: the machine then goes on without the overlay. Raises Rejected for
        one that has failed, where the reason is known; otherwise the overlay just stays in its chain.
        """
        ...

    def cancel(self, disk: str, overlay: str, deadline: Deadline) -> None:
        """Afterwards nothing is merged on that disk. What was written below is there above it as well. Idempotent.

        An overlay whose merge had ended by then is closed.
        """
        ...

    def close(self, overlay: str, deadline: Deadline) -> None:
        """Let the machine close an overlay on which no disk stands. Raises Rejected while it is in use. Idempotent."""
        ...


@runtime_checkable
class CopyingHypervisor(Protocol):
    """What a hypervisor has besides when it can copy the disks of a running machine."""

    copies: Copies


@runtime_checkable
class MergingHypervisor(Protocol):
    """What a hypervisor has besides when it can merge overlays."""

    merges: Merges
