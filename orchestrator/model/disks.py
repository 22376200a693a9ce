"""Disks, and what is done with them on a running machine."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Where the point in time of one disk is now: it moves down when what lies below it is merged away."""

    disk: str
    #: Read through this file, and all that it stands on, the disk is as it was.
    path: str
    #: The space that the file alone takes, in bytes; None where it cannot be looked at.
    size_bytes: int | None
    #: The file directly below; None when there is none.
    stands_on: str | None


@dataclass(frozen=True)
class Disk:
    """One writable disk of a machine, as its hypervisor sees it now."""

    #: How the hypervisor names the disk: `vda` for libvirt, the block device or node of bare QEMU.
    name: str
    #: The node that an overlay is put on (bare QEMU); the same as `name` for libvirt.
    node: str
    #: Path of the file on the top of its chain.
    path: str
    format: str
    size_bytes: int


@dataclass(frozen=True)
class DiskCopy:
    """An empty qcow2 file that a disk, or what has changed of it, is copied to."""

    disk: Disk
    path: str


@dataclass(frozen=True)
class Progress:
    """How far something slow is."""

    done_bytes: int
    total_bytes: int
    #: Nothing is left to be done.
    ended: bool


@dataclass(frozen=True)
class Overlay:
    """A file that takes a disk's writes from the cut on, and leaves the file below it as the snapshot."""

    disk: Disk
    path: str
