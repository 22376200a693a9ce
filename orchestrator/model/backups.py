"""Backups as a repository keeps them, and what is found out about them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

from orchestrator.model.jobs import Verify
from orchestrator.model.machines import OsInfo
from orchestrator.model.runs import Consistency


@dataclass(frozen=True)
class StoredDisk:
    """One disk in a backup: a qcow2 file that names no backing file. An incremental's holds only what changed."""

    #: How the hypervisor named the disk: `vda`, or a node of bare QEMU.
    name: str
    #: The size that the guest saw, in bytes.
    virtual_bytes: int
    #: The length of the file in bytes. This and the next are known once the backup is published.
    stored_bytes: int = 0
    #: The SHA-256 of the file, in hexadecimal digits.
    sha256: str = ""

    @property
    def file(self) -> str:
        """The file's name in the backup's folder, safe whatever the disk is called."""
        return quote(self.name, safe="") + ".qcow2"


@dataclass(frozen=True)
class Proof:
    """What a backup's consistency rests on. Counts are of file systems; None where the guest did not answer."""

    frozen: int | None = None
    thawed: int | None = None
    #: Milliseconds from the freeze's answer to the thaw's.
    hold_ms: float | None = None
    #: Milliseconds from sending the freeze to the confirmed thaw.
    window_ms: float | None = None
    #: What was to be frozen; empty means all.
    mountpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cut:
    """What is known of a cut when its window is over."""

    at: datetime
    consistency: Consistency
    proof: Proof
    guest_os: OsInfo | None = None


@dataclass(frozen=True)
class Backup:
    """One machine's disks at one point in time, as a repository keeps them: all that a restore needs to know."""

    machine: str
    run_id: str
    job: str
    #: The run whose backup this one stands on; None for a full one.
    parent: str | None
    #: The moment of the cut.
    cut_at: datetime
    consistency: Consistency
    proof: Proof
    disks: tuple[StoredDisk, ...]
    guest_os: OsInfo | None = None
    #: The domain's definition at the cut; None for a machine without libvirt.
    domain_xml: str | None = None


class Flaw(StrEnum):
    """What can be wrong in a repository."""

    DAMAGE = "damage"  # a file is not what it was when its backup was published
    CHAIN = "chain"  # what an incremental stands on is missing or damaged
    STRAY = "stray"  # a file or folder that is no part of a backup
    LEFTOVER = "leftover"  # what a killed run or removal left
    AWAY = "away"  # the repository itself cannot be read


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a repository."""

    flaw: Flaw
    #: Where, below the repository's folder.
    path: str
    text: str
    #: The machine and the run whose backup it is about; None for what belongs to neither.
    machine: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Which backup is meant: of a run, or the last one of a machine at some time."""

    #: A run's id or its beginning; None: the last one at `at`.
    run: str | None = None
    machine: str | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Checked:
    """What was found in one repository; nothing: it is as it should be."""

    repository: str
    findings: tuple[Finding, ...]


class ImageFormat(StrEnum):
    """As what a disk is restored."""

    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True)
class RestoredDisk:
    """One disk of a backup as a file of its own, that stands on nothing."""

    name: str
    path: str
    format: ImageFormat


@dataclass(frozen=True)
class Restored:
    """What a restore made."""

    backup: Backup
    repository: str
    disks: tuple[RestoredDisk, ...]
    #: The domain that was defined, and its UUID; None for a restore of the disks alone.
    domain: str | None = None
    uuid: str | None = None


@dataclass(frozen=True)
class ExaminedFilesystem:
    """What the host's tools say of one file system in a backup, as the guest would find it after a power cut."""

    disk: str
    #: Where it begins on the disk, in bytes.
    offset: int
    #: Its type as blkid names it, or what else is there: `swap`, `LVM2_member`.
    type: str
    #: Whether its checker found nothing wrong; None when it was not checked.
    clean: bool | None = None
    #: Whether its journal held something that was not in its place yet; None when that cannot be told.
    needs_recovery: bool | None = None
    #: What is wrong, or why it was not checked.
    text: str | None = None


@dataclass(frozen=True)
class Verified:
    """What an examination of a backup found."""

    backup: Backup
    repository: str
    verify: Verify
    filesystems: tuple[ExaminedFilesystem, ...]
    #: Why the backup is not to be trusted. Empty: it is.
    problems: tuple[str, ...]
    #: Seconds until the guest's agent answered.
    boot_seconds: float | None = None
    #: Why the history does not have this.
    not_journaled: str | None = None
