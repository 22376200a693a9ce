"""Copies of a libvirt domain's disks: a backup job in push mode, and checkpoints.

Between two runs libvirt keeps no metadata of our checkpoints, only the bitmaps that note the changes: metadata forbids
`virsh undefine`, and is lost with a domain that is defined anew. Before it is used, a checkpoint is described to
libvirt once more, which then looks whether its bitmaps are there and whole. See docs/decisions/0012-backup.md.
"""

import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

import libvirt

from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.hypervisor.backup_xml import backup_xml, checkpoint_xml, targets
from orchestrator.hypervisor.pace import STILL, share
from orchestrator.model import Disk, DiskCopy, Progress

T = TypeVar("T")

#: Seconds between two looks at a job that was ended.
_LOOK = 0.1
_KEPT = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
_REDEFINE = libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE
_VALIDATE = _REDEFINE | libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_REDEFINE_VALIDATE
_SIZES = libvirt.VIR_DOMAIN_CHECKPOINT_XML_SIZE | libvirt.VIR_DOMAIN_CHECKPOINT_XML_NO_DOMAIN
_METADATA_ONLY = libvirt.VIR_DOMAIN_CHECKPOINT_DELETE_METADATA_ONLY
_IN_BYTES = libvirt.VIR_DOMAIN_BLOCK_JOB_SPEED_BANDWIDTH_BYTES


class Call(Protocol):
    """Does work with the domain, as `LibvirtDomain` does."""

    def __call__(self, what: str, work: Callable[[libvirt.virDomain], T], deadline: Deadline) -> T: ...


class LibvirtCopies:
    """Keeps the promises of `ports.Copies` for one domain."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def definition(self, deadline: Deadline) -> str | None:
        """The domain as it is started next time, without passwords."""
        return self._call(
            "its definition", lambda domain: str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)), deadline
        )

    def changed(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> int:
        """See `ports.Copies`."""

        def look(domain: libvirt.virDomain) -> int:
            try:
                known = _describe(domain, checkpoint, disks, _VALIDATE)
            except libvirt.libvirtError as error:
                raise Rejected(f"libvirt has no whole {checkpoint}: {error}") from error
            told = ET.fromstring(known.getXMLDesc(_SIZES))  # noqa: S314 - libvirtd wrote it, which we trust with more
            known.delete(_METADATA_ONLY)
            return sum(int(disk.get("size", "0")) for disk in told.iterfind("disks/disk"))

        return self._call(f"what changed since {checkpoint}", look, deadline)

    def open(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Describe `since` to libvirt. It opens the files in the cut, and has no call to do that beforehand.

        Raises Rejected when another client's job runs on the domain: the cut would wait for its end.
        """

        def describe(domain: libvirt.virDomain) -> None:
            if _has_job(domain):
                raise Rejected("another job of libvirt's runs on the domain; see `virsh domjobinfo`")
            with suppress(libvirt.libvirtError):  # how an earlier job ended must not be taken for how ours did
                domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
            if since is not None:
                _describe(domain, since, [copy.disk for copy in copies], _VALIDATE)

        self._call(f"the checkpoint {since}", describe, deadline)

    def begin(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """One `virDomainBackupBegin` over all disks, into the files that are there, with a checkpoint.

        The jobs run before their speed can be set.
        """

        def begin(domain: libvirt.virDomain) -> None:
            described = domain.XMLDesc()
            backup = backup_xml(since, copies, described)
            noted = checkpoint_xml(checkpoint, [copy.disk for copy in copies], described)
            domain.backupBegin(backup, noted, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
            _set_speed(domain, [copy.disk.name for copy in copies], lambda jobs: STILL)

        self._call(f"the backup {checkpoint}", begin, deadline)

    def progress(self, copies: Sequence[DiskCopy], rate: int | None, deadline: Deadline) -> Progress:
        """See `ports.Copies`; by `virDomainGetJobStats`, which also tells how the last job ended."""

        def look(domain: libvirt.virDomain) -> Progress:
            if _is_paused_by_error(domain):
                raise Rejected("QEMU paused the machine because it could not write: is the repository's disk full?")
            if _copies_to(domain, copies):
                stats = domain.jobStats()
                _set_speed(domain, [copy.disk.name for copy in copies], partial(share, rate))
                return Progress(stats.get("disk_processed", 0), stats.get("disk_total", 0), ended=False)
            ended = domain.jobStats(_KEPT)
            if ended.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
                raise OutcomeUnknown("libvirt does not say how the copy ended")
            if not ended.get("success"):
                raise Rejected(f"the copy failed: {ended.get('errmsg', 'libvirt does not say why')}")
            return Progress(ended.get("disk_processed", 0), ended.get("disk_total", 0), ended=True)

        return self._call("how far its copy is", look, deadline)

    def end(self, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Abort the job, if it is ours, and wait until libvirt is idle: by then, a beginning that hung has come."""
        ours = False

        def abort(domain: libvirt.virDomain) -> bool:
            nonlocal ours
            if not domain.isActive():
                return True
            if _copies_to(domain, copies):
                ours = True
                domain.abortJob()
            if is_busy(domain):
                return False
            if ours and _is_paused_by_error(domain):
                domain.resume()
            return True

        while not self._call("the end of its copy", abort, deadline):
            if deadline.passed:
                raise OutcomeUnknown("libvirt is still busy with the domain")
            deadline.clock.sleep(_LOOK)

    def forget(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> None:
        """Delete the checkpoint with its bitmaps, which may be broken, or missing on some of the disks."""

        def delete(domain: libvirt.virDomain) -> None:
            known = _find(domain, checkpoint)
            if not domain.isActive():
                if known is not None:
                    known.delete(_METADATA_ONLY)
                raise Rejected(f"the domain is shut off: the bitmaps {checkpoint} stay in its images")
            if not _is_deleted(known or _describe(domain, checkpoint, disks, _REDEFINE)):
                for disk in disks:  # One without a bitmap must not save those of the others.
                    _is_deleted(_describe(domain, checkpoint, [disk], _REDEFINE))

        self._call(f"the checkpoint {checkpoint}", delete, deadline)

    def leave(self, checkpoint: str, deadline: Deadline) -> None:
        """Delete the checkpoint's metadata."""

        def delete(domain: libvirt.virDomain) -> None:
            known = _find(domain, checkpoint)
            if known is not None:
                known.delete(_METADATA_ONLY)

        self._call(f"the checkpoint {checkpoint}", delete, deadline)


def is_busy(domain: libvirt.virDomain) -> bool:
    """Whether libvirt works on a running domain: a job of several steps, or one command that QEMU has not answered."""
    control, *_ = domain.controlInfo()
    return _has_job(domain) or bool(control != libvirt.VIR_DOMAIN_CONTROL_OK)


def _has_job(domain: libvirt.virDomain) -> bool:
    job, *_ = domain.jobInfo()
    return bool(job != libvirt.VIR_DOMAIN_JOB_NONE)


def _copies_to(domain: libvirt.virDomain, copies: Sequence[DiskCopy]) -> bool:
    """Whether the backup job that runs now, if one does, is the one that writes these files."""
    try:
        running = domain.backupGetXMLDesc()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_BACKUP:
            raise
        return False
    return bool(targets(running) & {copy.path for copy in copies})


def _set_speed(domain: libvirt.virDomain, disks: Sequence[str], speed_of: Callable[[int], int]) -> None:
    """Give the disks that are still copied the speed that each of so many is to have."""
    jobs = {disk: domain.blockJobInfo(disk, libvirt.VIR_DOMAIN_BLOCK_JOB_INFO_BANDWIDTH_BYTES) for disk in disks}
    going = {disk: job["bandwidth"] for disk, job in jobs.items() if job}
    for disk, speed in going.items():
        if speed != speed_of(len(going)):
            with suppress(libvirt.libvirtError):  # it has just ended
                domain.blockJobSetSpeed(disk, speed_of(len(going)), _IN_BYTES)


def _is_paused_by_error(domain: libvirt.virDomain) -> bool:
    return bool(domain.state() == [libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_IOERROR])


def _find(domain: libvirt.virDomain, checkpoint: str) -> libvirt.virDomainCheckpoint | None:
    try:
        return domain.checkpointLookupByName(checkpoint)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT:
            raise
        return None


def _is_deleted(checkpoint: libvirt.virDomainCheckpoint) -> bool:
    """Delete a checkpoint with its bitmaps; when one is missing, no more than its metadata."""
    try:
        checkpoint.delete()
    except libvirt.libvirtError:
        checkpoint.delete(_METADATA_ONLY)
        return False
    return True


def _describe(
    domain: libvirt.virDomain, checkpoint: str, disks: Sequence[Disk], flags: int
) -> libvirt.virDomainCheckpoint:
    return domain.checkpointCreateXML(checkpoint_xml(checkpoint, disks, domain.XMLDesc()), flags)
