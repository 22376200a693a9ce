"""What users do with backups: look whether they are whole, and bring them back. No running guest is touched.

Neither the journal nor the guest is needed, nor the host that a backup was made on: the repository is enough.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from orchestrator.clock import Clock
from orchestrator.errors import CallError, ConfigError, JournalError, NotFound, Rejected, RepositoryError, Untrusted
from orchestrator.examining import Examiner, Found, trust
from orchestrator.model import (
    Action,
    Backup,
    Checked,
    Finding,
    Flaw,
    ImageFormat,
    Machine,
    Restored,
    RestoredDisk,
    StoredDisk,
    Verified,
    Verify,
    Wanted,
)
from orchestrator.ports import Domains, Images, Journal, Observer, Repository
from orchestrator.recorder import Recorder

#: Where a domain is defined whose machine the configuration does not know.
_LOCAL = "qemu:///system"


class Backups:
    """The use cases, over some repositories."""

    def __init__(
        self,
        *,
        repositories: Sequence[Repository],
        machines: Mapping[str, Machine],
        images: Images,
        domains: Callable[[str], Domains],
        examiner: Examiner,
        journal: Callable[[], Journal] | None,
        clock: Clock,
    ) -> None:
        """`machines` are those of the configuration; `domains` makes those of a libvirt from its URI.

        The journal is opened by who writes to it. None: there is no configuration, and so no history.
        """
        self._repositories, self._machines = repositories, machines
        self._images, self._domains, self._examiner = images, domains, examiner
        self._journal, self._clock = journal, clock

    def check(self) -> tuple[Checked, ...]:
        """Read everything in all repositories, and say what is wrong. One that cannot be read is a finding, too.

        What runs are making that the journal knows to be open is none; without a journal nobody can tell them apart.
        """
        before = self._open_runs()
        found = [(each, list(_findings(each))) for each in self._repositories]
        open_runs = before | self._open_runs()  # reading takes long: some have ended meanwhile, and some begun
        return tuple(
            Checked(
                str(repository.path),
                tuple(each for each in findings if each.flaw is not Flaw.LEFTOVER or each.run_id not in open_runs),
            )
            for repository, findings in found
        )

    def restore(
        self,
        wanted: Wanted,
        to: Path,
        *,
        disk: str | None = None,
        form: ImageFormat = ImageFormat.QCOW2,
        force: bool = False,
        define: str | None = None,
    ) -> Restored:
        """Write the disks of a backup, or one of them, into the folder `to`, each as a file that stands on nothing.

        All sums are checked first. `define` is the name of a new domain for them, which is not started. Without
        `force`, no file is replaced. Raises NotFound and ConfigError before anything is written, RepositoryError for a
        damaged backup, and CallError; then no file is there that was not there before, unless it is the definition
        of the domain that failed, after the files.
        """
        found, target = self.find(wanted), to.absolute()
        stored = _chosen(found.backup, disk)
        disks = tuple(
            RestoredDisk(each.name, str(target / Path(each.file).with_suffix(f".{form}")), form) for each in stored
        )
        self._refuse_target(target, () if force else disks)
        if define is not None:
            self._check_definition(found.backup, define, disks)
        _refuse_damaged(found, stored)
        _make_folder(target)
        self._images.flatten({Path(d.path): found.files(s) for d, s in zip(disks, stored, strict=True)}, form)
        uuid = None if define is None else self._define(found.backup, define, disks)
        return Restored(found.backup, str(found.repository.path), disks, define, uuid)

    def verify(self, wanted: Wanted, verify: Verify, observer: Observer | None = None) -> Verified:
        """Examine a backup, and write into the history of its run what was found, if that can be written.

        Raises NotFound and ConfigError, and CallError when it cannot be examined.
        """
        found = self.find(wanted)
        recorder = Recorder(found.backup.machine, self._clock, observer)
        recorder.intend(Action.EXAMINE, verify=verify)
        self._record(found.backup.run_id, recorder)
        try:
            verified = self._examined(found, verify, recorder)
        finally:
            not_journaled = self._record(found.backup.run_id, recorder)
        return replace(verified, not_journaled=not_journaled)

    def examine(self, machine: str, run_id: str, verify: Verify) -> Mapping[str, Any]:
        """Examine what a run has just published, and return what its history shall say of it; see `ports.Examine`."""
        found = self.find(Wanted(run_id, machine))
        verified = self._examiner.examine(found, verify, self._uri(found.backup))
        trust(verified)
        return _figures(verified)

    def _open_runs(self) -> frozenset[str]:
        if self._journal is None:
            return frozenset()
        try:
            return frozenset(run.id for run in self._journal().open_runs())
        except JournalError:
            return frozenset()

    def _examined(self, found: Found, verify: Verify, recorder: Recorder) -> Verified:
        """Examine a backup, and write down what was found."""
        verified: Verified | None = None
        with suppress(Untrusted), recorder.act(Action.EXAMINE, verify=verify) as figures:
            verified = self._examiner.examine(found, verify, self._uri(found.backup))
            figures |= _figures(verified)
            trust(verified)
        assert verified is not None
        return verified

    def _record(self, run_id: str, recorder: Recorder) -> str | None:
        """Add the new steps to the history of a run, or say why it does not have them."""
        if self._journal is None:
            return "no configuration was read, so there is no history to write to"
        try:
            journal = self._journal()
            with recorder.journaling() as steps:
                journal.record(journal.run(run_id), steps)
        except (NotFound, JournalError) as error:
            return str(error)
        return None

    def find(self, wanted: Wanted) -> Found:
        """The one backup that is meant. Raises NotFound, ConfigError when several are, RepositoryError."""
        candidates, errors = self._candidates(wanted)
        runs = sorted({each.backup.run_id for each in candidates})
        if wanted.run in runs:
            candidates = [each for each in candidates if each.backup.run_id == wanted.run]
        elif errors:  # what is away may hold the one that is meant
            raise errors[0]
        elif not candidates:
            raise NotFound(f"there is no such backup in {', '.join(str(each.path) for each in self._repositories)}")
        elif wanted.run is not None and len(runs) > 1:
            raise NotFound(f"{wanted.run!r} is the beginning of several runs: {', '.join(runs[:5])}")
        machines = sorted({each.backup.machine for each in candidates})
        if len(machines) > 1:
            raise ConfigError(f"choose one with --machine; there are backups of {', '.join(machines)}")
        return max(candidates, key=lambda found: found.backup.cut_at)

    def _candidates(self, wanted: Wanted) -> tuple[list[Found], list[RepositoryError]]:
        """The backups that may be meant, and why some repositories could not be asked."""
        if not self._repositories:
            raise ConfigError("the configuration has no job with a repository; name the folder with --repository")
        found, errors = [], []
        for repository in self._repositories:
            try:
                for machine in repository.machines():
                    backups = repository.backups(machine) if wanted.machine in (None, machine) else ()
                    found += [Found(repository, backup) for backup in backups if _fits(backup, wanted)]
            except RepositoryError as error:
                errors.append(error)
        return found, errors

    def _refuse_target(self, folder: Path, untouchable: Sequence[RestoredDisk]) -> None:
        for repository in self._repositories:
            if folder.resolve().is_relative_to(repository.path.resolve()):
                raise ConfigError(f"{folder} is in the repository {repository.path}: restore to somewhere else")
        for disk in untouchable:
            if os.path.lexists(disk.path):
                raise ConfigError(f"{disk.path} is there already; --force replaces it")

    def _check_definition(self, backup: Backup, name: str, disks: Sequence[RestoredDisk]) -> None:
        if backup.domain_xml is None:
            raise ConfigError(f"the backup of {backup.machine} holds no domain: it was a QEMU without libvirt")
        with closing(self._domains(self._uri(backup))) as domains:
            domains.check(name, backup.domain_xml, disks)

    def _define(self, backup: Backup, name: str, disks: Sequence[RestoredDisk]) -> str:
        assert backup.domain_xml is not None
        with closing(self._domains(self._uri(backup))) as domains:
            try:
                return domains.define(name, backup.domain_xml, disks)
            except CallError as error:
                raise Rejected(f"the disks are restored, but the domain is not defined: {error}") from error

    def _uri(self, backup: Backup) -> str:
        machine = self._machines.get(backup.machine)
        return (machine and machine.hypervisor) or _LOCAL


def _figures(verified: Verified) -> Mapping[str, Any]:
    return {
        "filesystems": [asdict(filesystem) for filesystem in verified.filesystems],
        "boot_seconds": verified.boot_seconds,
    }


def _findings(repository: Repository) -> Iterator[Finding]:
    try:
        yield from repository.check()
    except RepositoryError as error:
        yield Finding(Flaw.AWAY, ".", str(error))


def _fits(backup: Backup, wanted: Wanted) -> bool:
    in_time = wanted.at is None or backup.cut_at <= wanted.at
    return in_time and (wanted.run is None or backup.run_id.startswith(wanted.run))


def _chosen(backup: Backup, disk: str | None) -> tuple[StoredDisk, ...]:
    names = [each.name for each in backup.disks]
    if disk is not None and disk not in names:
        raise NotFound(f"the backup of {backup.machine} has no disk {disk!r}; it has: {', '.join(names)}")
    return tuple(each for each in backup.disks if disk in (None, each.name))


def _refuse_damaged(found: Found, disks: Sequence[StoredDisk]) -> None:
    if damages := found.damages(disks):
        raise RepositoryError(f"the backup {found.backup.run_id} is damaged: {'; '.join(damages)}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise Rejected(f"cannot make the folder {path}: {error.strerror}") from error
