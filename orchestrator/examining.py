"""Whether a backup would be worth something on the day it is needed: its files, its file systems, its boot.

Examined is the backup with all that it stands on, and what is wrong is told, not raised: that a file system was not at
rest says more about the quiesce than every count of an agent.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, RepositoryError, Untrusted
from orchestrator.model import (
    NAME_PREFIX,
    Backup,
    ExaminedFilesystem,
    Machine,
    StoredDisk,
    Verified,
    Verify,
)
from orchestrator.ports import Agent, Domains, Images, Repository

#: Seconds for a guest to boot until its agent answers: an emulated one of a distribution takes minutes.
BOOT = 900.0
#: Seconds for one answer, and between two questions.
_ANSWER, _PAUSE = 5.0, 1.0


@dataclass(frozen=True)
class Found:
    """A backup and where it is kept."""

    repository: Repository
    backup: Backup

    def chain(self) -> tuple[Backup, ...]:
        """The backup after all that it stands on. Raises RepositoryError when it cannot be used."""
        return self.repository.chain(self.backup.machine, self.backup.run_id)

    def files(self, disk: StoredDisk) -> list[Path]:
        """The files that hold one disk, the full one first."""
        return [self.repository.folder(each) / disk.file for each in self.chain()]

    def damages(self, disks: Iterable[StoredDisk]) -> list[str]:
        """What is wrong with the files of these disks, of the backup and of all that it stands on."""
        names = {disk.name for disk in disks}
        return [text for each in self.chain() for text in self.repository.damaged(each, names)]


class Examiner:
    """Examines backups. No running guest is touched, and nothing is written to a repository."""

    def __init__(
        self,
        images: Images,
        domains: Callable[[str], Domains],
        agent: Callable[[Machine], Agent],
        clock: Clock,
    ) -> None:
        """`domains` makes those of a libvirt from its URI, `agent` the way to a machine's agent."""
        self._images, self._domains, self._agent, self._clock = images, domains, agent, clock

    def examine(self, found: Found, verify: Verify, uri: str) -> Verified:
        """Examine a backup that way; a domain of it boots at the libvirt `uri`. What is found wrong ends it.

        Raises CallError when it cannot be examined: a tool is missing, there is no room, it has no domain to boot.
        """
        backup, where = found.backup, str(found.repository.path)
        problems = list(self._damages(found))
        filesystems: list[ExaminedFilesystem] = []
        if not problems and verify in (Verify.FILESYSTEM, Verify.BOOT):
            for disk in backup.disks:
                filesystems += self._images.filesystems(disk.name, found.files(disk))
            problems += [text for each in filesystems for text in _problems(each, backup)]
        seconds = None
        if not problems and verify is Verify.BOOT:
            seconds = self._boot(found, uri)
            if seconds is None:
                problems.append(f"it was booted, and its agent did not answer within {BOOT:g} s")
        return Verified(backup, where, verify, tuple(filesystems), tuple(problems), seconds)

    def _damages(self, found: Found) -> Iterator[str]:
        try:
            damages = found.damages(found.backup.disks)
        except RepositoryError as error:
            damages = [str(error)]
        yield from damages
        if not damages:  # a file that is not what was written need not be an image
            for disk in found.backup.disks:
                for image in found.files(disk):
                    yield from self._images.problems(image)

    def _boot(self, found: Found, uri: str) -> float | None:
        """Boot the backup, and return after how many seconds its agent answered; None when it did not."""
        backup = found.backup
        if backup.domain_xml is None:
            raise RepositoryError(
                f"the backup of {backup.machine} cannot be booted: it holds no domain, and nobody else knows the "
                "command line of its QEMU. Restore it and start it by yours"
            )
        name = f"{NAME_PREFIX}verify-{backup.run_id}"
        began = self._clock.monotonic()
        with (
            closing(self._domains(uri)) as domains,
            self._images.serving(_chains(found)) as sockets,
            domains.booting(name, backup.domain_xml, sockets),
            closing(self._agent(Machine(name, hypervisor=uri, domain=name))) as agent,
        ):
            answered = self._answers(agent, Deadline.after(self._clock, BOOT))
        return self._clock.monotonic() - began if answered else None

    def _answers(self, agent: Agent, deadline: Deadline) -> bool:
        while not deadline.passed:
            try:
                agent.ping(deadline.within(_ANSWER))
            except CallError:
                self._clock.sleep(_PAUSE)
            else:
                return True
        return False


def _chains(found: Found) -> dict[str, list[Path]]:
    return {disk.name: found.files(disk) for disk in found.backup.disks}


def _problems(filesystem: ExaminedFilesystem, backup: Backup) -> Iterator[str]:
    """Why a file system makes its backup untrustworthy.

    One that was not frozen needs its recovery: in a cut that is only crash-consistent, or of other mount points.
    """
    frozen = backup.consistency.proven and not backup.proof.mountpoints
    where = f"{filesystem.disk}: the {filesystem.type} at {filesystem.offset}"
    if filesystem.clean is False:
        yield f"{where} is damaged: {filesystem.text}"
    elif filesystem.needs_recovery and frozen:
        yield f"{where} was not at rest at the cut: its journal must be replayed"


def trust(verified: Verified) -> None:
    """Raise Untrusted when something was found wrong."""
    if verified.problems:
        raise Untrusted(f"the backup {verified.backup.run_id} is not to be trusted: {'; '.join(verified.problems)}")
