"""Backups: the cut begins a copy of every disk into a repository, in full or of what has changed since the last backup.

Each backup has a checkpoint of its own, named like the run, which notes what the guest writes from its cut on. The next
backup copies what the last published one's checkpoint has noted, and that checkpoint stays as it is until the next
one is published. So a run that fails, is ended or dies costs the chain nothing, and what it did not store is in the
backup after it.
"""

import contextlib
import json
import os
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator.clock import Deadline, Task
from orchestrator.drivers import check_options
from orchestrator.drivers.chain import why_full
from orchestrator.errors import CallError, ConfigError, NotFound, OutcomeUnknown, Rejected, RepositoryError
from orchestrator.model import NAME_PREFIX, Backup, Cut, Disk, DiskCopy, Progress, StoredDisk
from orchestrator.ports import Copies, CopyingHypervisor, DriverContext, Hypervisor, Plan, Repository
from orchestrator.programs import run

#: Seconds for the hypervisor to close the files of a copy that has ended, and between two looks at one.
_CLOSING, _LOOK = 30.0, 0.1
#: Bytes of what qemu-img says that are read.
_OUTPUT_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class _Basis:
    """What a backup stands on: `parent`, of which so many bytes have changed; or nothing, and why."""

    parent: str | None
    changed_bytes: int
    why_full: str | None


class BackupDriver:
    """Copies all writable disks of a machine on this host into the job's repository."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError when the job has options or no repository, or the machine cannot be copied from here."""
        check_options(context, ())
        if context.repository is None:
            raise ConfigError(f"job {context.job}: the driver backup needs a repository")
        hypervisor = context.hypervisor
        if hypervisor is None or not isinstance(hypervisor, CopyingHypervisor) or not hypervisor.local:
            raise ConfigError(
                f"job {context.job}: the driver backup needs a `hypervisor` on this host, or `qmp`, for the machine "
                f"{context.machine.name}"
            )
        self._context = context
        self._machine, self._run_id = context.machine.name, context.run_id
        self._repository: Repository = context.repository
        self._hypervisor: Hypervisor = hypervisor
        self._copies: Copies = hypervisor.copies
        self._definition: str | None = None
        self._flushing: Task[None] | None = None

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        """The disks, the file that each is copied to, and what the backup stands on.

        Raises Rejected when there is no disk, and RepositoryError.
        """
        disks = self._hypervisor.disks(deadline)
        if not disks:
            raise Rejected("the machine has no writable disk")
        backups = self._repository.backups(self._machine)
        basis = self._basis(backups, disks, deadline)
        folder = self._repository.staged(self._machine, self._run_id)
        files = [str(folder / StoredDisk(disk.name, disk.size_bytes).file) for disk in disks]
        return {
            "snapshot": snapshot,
            **asdict(basis),
            # The one before the last is there only when its successor was published, and somebody died just then.
            "outdated": [_checkpoint(backup.run_id) for backup in backups[-2:]],
            "disks": [{**asdict(disk), "copy": file} for disk, file in zip(disks, files, strict=True)],
        }

    def prepare(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Make the files, and let QEMU open them; say what the backup stands on.

        Raises Rejected when there is too little space for what is known to be copied.
        """
        self._definition = self._copies.definition(deadline)
        folder = self._repository.stage(self._machine, self._run_id)
        for copy in _copies(plan):
            _create(copy, deadline)
        _check_space(folder, plan, deadline)
        self._copies.open(plan["snapshot"], _since(plan), _copies(plan), deadline)
        return {key: plan[key] for key in ("parent", "why_full") if plan[key] is not None}

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Begin the copy of all disks at once."""
        self._copies.begin(plan["snapshot"], _since(plan), _copies(plan), deadline)
        return {}

    def copied(self, plan: Plan, deadline: Deadline) -> Progress:
        """How far all disks together are; the copy is held to the job's rate.

        What is copied is flushed meanwhile: QEMU closes its files with a flush of its own, for which the guest waits.
        """
        progress = self._copies.progress(_copies(plan), self._context.rate, deadline)
        if not progress.ended:
            self._flush(deadline)
        return progress

    def publish(self, plan: Plan, cut: Cut, deadline: Deadline) -> Mapping[str, Any]:
        """Publish the backup when QEMU has closed its files, and then forget the checkpoint of the last one."""
        if self._flushing is not None:
            self._flushing.join()
            self._flushing.result()
        closing = deadline.within(_CLOSING)
        self._copies.end(_copies(plan), closing)
        for copy in _copies(plan):
            _wait_until_closed(copy.path, closing)
        backup = self._repository.publish(
            Backup(
                self._machine,
                self._run_id,
                self._context.job,
                plan["parent"],
                cut.at,
                cut.consistency,
                cut.proof,
                tuple(StoredDisk(copy.disk.name, copy.disk.size_bytes) for copy in _copies(plan)),
                cut.guest_os,
                self._definition,
            )
        )
        self._forget_outdated(plan, Deadline.after(deadline.clock, _CLOSING))
        return self._made(backup)

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """What was published. What publishing had left to do is done now."""
        backup = self._published()
        if backup is None:
            return None
        self._forget_outdated(plan, deadline)
        return self._made(backup)

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        """End the copy, and remove its files and its checkpoint. What the last backup's has noted stays.

        Raises Rejected, and removes nothing, when the backup is published. The files are removed also when the machine
        is gone, with which the copy went too.
        """
        with contextlib.suppress(RepositoryError):  # It is away, and nothing was published into it just now.
            if self._published() is not None:
                raise Rejected(f"the backup {self._run_id} is published: nothing was removed")
        try:
            self._copies.end(_copies(plan), deadline)
            self._copies.forget(plan["snapshot"], [copy.disk for copy in _copies(plan)], deadline)
            if plan["parent"] is not None:
                self._copies.leave(_checkpoint(plan["parent"]), deadline)
        finally:
            self._repository.drop(self._machine, self._run_id)

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        """Remove a published backup from its repository. Raises RepositoryError while another one stands on it."""
        yield from ()
        last = [backup.run_id for backup in self._repository.backups(self._machine)[-1:]]
        self._repository.remove(self._machine, self._run_id)
        if last == [self._run_id]:  # Nothing will stand on it, so nobody needs to know what has changed since.
            with contextlib.suppress(CallError):
                self._copies.forget(_checkpoint(self._run_id), self._hypervisor.disks(deadline), deadline)

    def close(self) -> None:
        """Nothing to release: the hypervisor belongs to who made it."""

    def _flush(self, deadline: Deadline) -> None:
        """Begin to flush what is copied by now, unless that is going on. Raises what became of the last time: of what
        could not be written, the kernel tells once.
        """
        last = self._flushing
        if last is None or last.wait(deadline.within(0)):
            if last is not None:
                last.result()
            flush = partial(self._repository.flush, self._machine, self._run_id)
            self._flushing = Task(deadline.clock, "flush", flush)

    def _basis(self, backups: Sequence[Backup], disks: Sequence[Disk], deadline: Deadline) -> _Basis:
        if not backups:
            return _Basis(None, 0, "it is the first backup of the machine in this repository")
        last = backups[-1]
        try:
            chain = self._repository.chain(self._machine, last.run_id)
            context = self._context
            why = why_full(chain, disks, context.clock.now(), context.full_every, context.max_incrementals)
            changed = 0 if why else self._copies.changed(_checkpoint(last.run_id), disks, deadline)
        except Rejected as broken:
            why, changed = str(broken), 0
        return _Basis(None if why else last.run_id, changed, why)

    def _published(self) -> Backup | None:
        try:
            return self._repository.backup(self._machine, self._run_id)
        except NotFound:
            return None

    def _forget_outdated(self, plan: Plan, deadline: Deadline) -> None:
        """What cannot be forgotten now is outdated for the next backup, too."""
        with contextlib.suppress(CallError):
            self._copies.leave(plan["snapshot"], deadline)
            for checkpoint in plan["outdated"]:
                self._copies.forget(checkpoint, [copy.disk for copy in _copies(plan)], deadline)

    def _made(self, backup: Backup) -> Mapping[str, Any]:
        """Where the backup is, what it stands on, and how large it is."""
        return {
            "path": str(self._repository.folder(backup)),
            "parent": backup.parent,
            "disks": [asdict(disk) for disk in backup.disks],
        }


def _checkpoint(run_id: str) -> str:
    return NAME_PREFIX + run_id


def _since(plan: Plan) -> str | None:
    """The checkpoint from which on the backup holds what has changed; None for a full one."""
    return None if plan["parent"] is None else _checkpoint(plan["parent"])


def _copies(plan: Plan) -> list[DiskCopy]:
    """The copies that a plan names."""
    return [
        DiskCopy(Disk(**{key: value for key, value in disk.items() if key != "copy"}), disk["copy"])
        for disk in plan["disks"]
    ]


def _create(copy: DiskCopy, deadline: Deadline) -> None:
    """Make an empty file that its owner alone can read: the owner of the disk, as whom QEMU most likely runs."""
    path = copy.path
    try:
        owner = Path(copy.disk.path).stat()
        made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(made), contextlib.suppress(PermissionError):  # Only root may give a file away.
            os.fchown(made, owner.st_uid, owner.st_gid)
    except OSError as error:
        raise Rejected(f"cannot make {path}: {error.strerror}") from error
    ended = run(["qemu-img", "create", "-q", "-f", "qcow2", path, str(copy.disk.size_bytes)], deadline)
    if ended.status != 0:
        raise Rejected(f"cannot make {path}: {ended.output}")


def _check_space(folder: Path, plan: Plan, deadline: Deadline) -> None:
    """Raise Rejected when the copy is known not to fit. A target that is full stops the guest, so this is no luxury."""
    full = plan["parent"] is None
    needed = sum(_needed(copy.disk, deadline) for copy in _copies(plan)) if full else plan["changed_bytes"]
    there = os.statvfs(folder)
    free = there.f_bavail * there.f_frsize
    if needed > free:
        raise Rejected(f"the repository has {free >> 20} MiB free, and the backup takes {needed >> 20} MiB")


def _needed(disk: Disk, deadline: Deadline) -> int:
    """The bytes that a full copy of a disk takes now."""
    measure = ["qemu-img", "measure", "-U", "--output=json", "-f", disk.format, "-O", "qcow2", disk.path]
    ended = run(measure, deadline, keep=_OUTPUT_LIMIT)
    try:
        return int(json.loads(ended.output)["required"])
    except (ValueError, KeyError, TypeError) as error:
        raise Rejected(f"cannot tell how large {disk.path} is: {ended.output}") from error


def _wait_until_closed(path: str, deadline: Deadline) -> None:
    """Wait until nobody writes the file: libvirt tells of the end some milliseconds before QEMU has closed it.

    qemu-img opens an image only when no QEMU holds the lock on it.
    """
    while (ended := run(["qemu-img", "info", "-f", "qcow2", path], deadline)).status != 0:
        if deadline.passed:
            raise OutcomeUnknown(f"{path} is not closed: {ended.output}")
        deadline.clock.sleep(_LOOK)
