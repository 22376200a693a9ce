"""Where backups are, and what is done with them when no guest waits."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from orchestrator.model import Backup, ExaminedFilesystem, Finding, ImageFormat, RestoredDisk, Verify


class Repository(Protocol):
    """Where backups are kept: a folder for each machine, in it one for each run. What is visible there is whole.

    Every call raises RepositoryError when the folder cannot be read or written, and RepositoryAway when it
    was a repository before and is not now. One run at a time writes the backups of a machine: the journal sees to it.
    """

    #: The repository's folder.
    path: Path

    def stage(self, machine: str, run_id: str) -> Path:
        """Make the folder in which a backup is put together, and return it: empty, and not visible as a backup.

        Each disk goes into it as `StoredDisk.file`. The first stage in an empty folder makes it a repository.
        """
        ...

    def staged(self, machine: str, run_id: str) -> Path:
        """The folder that `stage` makes, whether it is there or not."""
        ...

    def flush(self, machine: str, run_id: str) -> None:
        """Flush what is staged of the disks by now, which may still be written to: publishing then has less to do."""
        ...

    def publish(self, backup: Backup) -> Backup:
        """Make a staged backup visible, whole and for good; return it with its sizes and sums.

        Raises RepositoryError when it is not visible, OutcomeUnknown when it is, but might not survive a loss of power.
        """
        ...

    def drop(self, machine: str, run_id: str) -> None:
        """Remove what was staged and not published. Idempotent."""
        ...

    def machines(self) -> tuple[str, ...]:
        """The machines that have, or had, backups here."""
        ...

    def backups(self, machine: str) -> tuple[Backup, ...]:
        """The published backups of a machine, the oldest cut first. One whose manifest is damaged is left out."""
        ...

    def backup(self, machine: str, run_id: str) -> Backup:
        """One published backup. Raises NotFound when there is none, RepositoryError when its manifest is damaged."""
        ...

    def chain(self, machine: str, run_id: str) -> tuple[Backup, ...]:
        """A published backup after all that it stands on: what a restore needs, the full one first.

        Raises NotFound when there is no such backup, RepositoryError when one of the others is missing or damaged.
        """
        ...

    def folder(self, backup: Backup) -> Path:
        """Where the files of a published backup are."""
        ...

    def damaged(self, backup: Backup, disks: Collection[str]) -> tuple[str, ...]:
        """Which of a published backup's files, of those disks, are not what they were, each with what is wrong."""
        ...

    def remove(self, machine: str, run_id: str) -> None:
        """Remove a published backup, never partly visible. Idempotent, so that a killed removal can be ended.

        Raises RepositoryError while another backup stands on it: remove the newest of a chain first. Where nothing was
        ever published, RepositoryAway: nothing was removed there.
        """
        ...

    def check(self) -> tuple[Finding, ...]:
        """Read everything and say what is wrong. Changes nothing."""
        ...


#: Examines what a run has published of a machine, and returns what the history shall say of it. Raises Untrusted when
#: something is wrong, and another CallError when it cannot be examined.
Examine = Callable[[str, str, Verify], Mapping[str, Any]]


class Images(Protocol):
    """What is done with the images of a backup. A chain is given as its files, the full one first.

    Every call raises Rejected when it cannot be done, with what the tool said.
    """

    def flatten(self, files: Mapping[Path, Sequence[Path]], form: ImageFormat) -> None:
        """Write what each chain holds into the file that it is given for: all of them, for good, or none.

        Zeros become holes. A file that is there already is replaced, when all are written.
        """
        ...

    def problems(self, image: Path) -> tuple[str, ...]:
        """What `qemu-img check` finds wrong with one image."""
        ...

    def serving(self, chains: Mapping[str, Sequence[Path]]) -> AbstractContextManager[Mapping[str, Path]]:
        """Within the `with`, each disk is served by NBD at its unix socket, also to be written. That is thrown away.

        The first client that connects is served, and no other.
        """
        ...

    def filesystems(self, disk: str, chain: Sequence[Path]) -> tuple[ExaminedFilesystem, ...]:
        """Examine every file system on a disk, be it the whole of it or in a partition, on a copy of its own."""
        ...


class Domains(Protocol):
    """The domains of a libvirt, as places for what a backup holds. All raise CallError."""

    def check(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> None:
        """Raise Rejected when `define` would: there is a domain by that name, or the disks are not those it needs."""
        ...

    def define(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> str:
        """Define a new domain as `domain_xml` has it, but with these disks, and return its UUID. It is not started.

        It has a name, a UUID and MAC addresses of its own, so that it can stand beside the one that was backed up.
        """
        ...

    def booting(self, name: str, domain_xml: str, disks: Mapping[str, Path]) -> AbstractContextManager[None]:
        """Within the `with`, a domain by that name runs, from disks that are served by NBD at unix sockets.

        It is what `domain_xml` describes, without network, host devices, media and lines to the outside but the agent's
        channel. libvirt ends it with us, whatever ends us, and keeps nothing of it. Raises Rejected when it has no
        such channel.
        """
        ...

    def close(self) -> None:
        """Drop the connection. Never raises."""
        ...
