"""What users do with backups: look whether they are whole, and bring them back. No running guest is touched.

Nothing here needs the journal, the guest, or the host that the backup was made on: the repository is enough.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import CallError, ConfigError, NotFound, Rejected, RepositoryError
from orchestrator.model import (
    Backup,
    Checked,
    Finding,
    Flaw,
    ImageFormat,
    Machine,
    Restored,
    RestoredDisk,
    StoredDisk,
    Wanted,
)
from orchestrator.ports import Domains, Images, Repository

#: Where a domain is defined whose machine the configuration does not know.
_LOCAL = "qemu:///system"


@dataclass(frozen=True)
class Found:
    """A backup and where it is kept."""

    repository: Repository
    backup: Backup

    @property
    def chain(self) -> tuple[Backup, ...]:
        """The backup after all that it stands on. Raises RepositoryError when it cannot be used."""
        return self.repository.chain(self.backup.machine, self.backup.run_id)

    def files(self, disk: StoredDisk) -> list[Path]:
        """The files that hold one disk, the full one first."""
        return [self.repository.folder(each) / disk.file for each in self.chain]


class Backups:
    """The use cases, over some repositories."""

    def __init__(
        self,
        *,
        repositories: Sequence[Repository],
        machines: Mapping[str, Machine],
        images: Images,
        domains: Callable[[str], Domains],
    ) -> None:
        """`machines` are those of the configuration; `domains` makes those of a libvirt from its URI."""
        self._repositories, self._machines = repositories, machines
        self._images, self._domains = images, domains

    def check(self) -> tuple[Checked, ...]:
        """Read everything in all repositories, and say what is wrong. One that cannot be read is a finding, too."""
        return tuple(Checked(str(each.path), tuple(_findings(each))) for each in self._repositories)

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
            if Path(disk.path).exists():
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
    names = {disk.name for disk in disks}
    damages = [text for backup in found.chain for text in found.repository.damaged(backup, names)]
    if damages:
        raise RepositoryError(f"the backup {found.backup.run_id} is damaged: {'; '.join(damages)}")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise Rejected(f"cannot make the folder {path}: {error.strerror}") from error
