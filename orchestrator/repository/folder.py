"""A repository in a folder: `MACHINE/RUN/` with a manifest and one qcow2 file for each disk.

An empty mount point looks like a new repository. So a repository carries a mark, and each host remembers, beside its
journal, which folders it has ever kept backups in: there a missing mark means that the file system is away, and
nothing is written. See docs/decisions/0011-repository.md.
"""

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from orchestrator.errors import NotFound, OutcomeUnknown, RepositoryAway, RepositoryError
from orchestrator.model import Backup, Finding, StoredDisk
from orchestrator.repository import checking, files, manifest
from orchestrator.repository.layout import LOST_AND_FOUND, MARK, PARTIAL, REMOVING, is_name

_MARK = json.dumps({"format": manifest.FORMAT}).encode() + b"\n"


class FolderRepository:
    """Keeps the promises of `ports.Repository`, in a folder of a local or mounted file system."""

    def __init__(self, path: Path, memory: Path | None) -> None:
        """Opens nothing yet.

        `memory` is the folder in which this host remembers its repositories. Without it there is no first use: what
        carries no mark is no repository.
        """
        self.path = path
        self._memory = memory and memory / hashlib.sha256(str(path).encode()).hexdigest()

    def stage(self, machine: str, run_id: str) -> Path:
        folder = self.staged(machine, run_id)
        with self._telling():
            self._begin()
            with suppress(FileExistsError):
                files.make_folder(folder.parent)
            if self._published(machine, run_id).exists():
                raise RepositoryError(f"{self.path} has a backup of {machine} by the run {run_id} already")
            files.make_folder(folder)
        return folder

    def staged(self, machine: str, run_id: str) -> Path:
        return self._home(machine) / f".{_safe(run_id)}{PARTIAL}"

    def flush(self, machine: str, run_id: str) -> None:
        with self._telling():
            for path in self.staged(machine, run_id).iterdir():
                files.flush(path)

    def publish(self, backup: Backup) -> Backup:
        staged, published = self.staged(backup.machine, backup.run_id), self.folder(backup)
        with self._telling():
            self._is_marked()
            if backup.parent is not None:
                self.chain(backup.machine, backup.parent)
            if published.exists():
                raise RepositoryError(f"{published} is there already")
            (staged / manifest.NAME).unlink(missing_ok=True)  # of an attempt that failed
            _no_other(staged, {disk.file for disk in backup.disks})
            with ThreadPoolExecutor() as threads:
                disks = tuple(threads.map(partial(_sealed, staged), backup.disks))
            backup = dataclasses.replace(backup, disks=disks)
            files.write(staged / manifest.NAME, manifest.written(backup))
            staged.chmod(files.PRIVATE)
            files.flush(staged)
            staged.rename(published)
        try:
            files.flush(published.parent)
        except OSError as error:
            raise OutcomeUnknown(f"{published} is there, but not for certain: {error.strerror}") from error
        return backup

    def drop(self, machine: str, run_id: str) -> None:
        with self._telling():
            if self._is_marked():
                files.remove_folder(self.staged(machine, run_id))

    def machines(self) -> tuple[str, ...]:
        with self._telling():
            if not self._is_marked():
                return ()
            return tuple(sorted(entry.name for entry in self.path.iterdir() if is_name(entry.name) and entry.is_dir()))

    def backups(self, machine: str) -> tuple[Backup, ...]:
        home, found = self._home(machine), []
        with self._telling():
            if not self._is_marked() or not home.exists():
                return ()
            for entry in home.iterdir():
                if is_name(entry.name):
                    with suppress(RepositoryError):
                        found.append(checking.manifest_of(entry))
        return tuple(sorted(found, key=lambda backup: (backup.cut_at, backup.run_id)))

    def backup(self, machine: str, run_id: str) -> Backup:
        folder = self._published(machine, run_id)
        with self._telling():
            if not self._is_marked() or not folder.exists():
                raise NotFound(f"{self.path} has no backup of {machine} by the run {run_id}")
            return checking.manifest_of(folder)

    def chain(self, machine: str, run_id: str) -> tuple[Backup, ...]:
        known = {backup.run_id: backup for backup in self.backups(machine)}
        chain = [self.backup(machine, run_id)]
        while (parent := chain[-1].parent) is not None:
            if parent not in known or len(chain) > len(known):
                raise RepositoryError(
                    f"the backup {run_id} of {machine} cannot be used: it stands on {parent}, which is missing"
                )
            chain.append(known[parent])
        return tuple(reversed(chain))

    def folder(self, backup: Backup) -> Path:
        return self._published(backup.machine, backup.run_id)

    def damaged(self, backup: Backup, disks: Collection[str]) -> tuple[str, ...]:
        folder, wanted = self.folder(backup), [disk for disk in backup.disks if disk.name in disks]
        return tuple(f"{folder / name} {text}" for name, text in checking.damaged(folder, wanted))

    def remove(self, machine: str, run_id: str) -> None:
        folder = self._published(machine, run_id)
        aside = folder.with_name(f".{folder.name}{REMOVING}")
        with self._telling():
            if not self._is_marked():
                raise RepositoryAway(f"{self.path} is no repository: the backup {run_id} was made elsewhere")
            if folder.exists():
                if children := [each.run_id for each in self.backups(machine) if each.parent == run_id]:
                    raise RepositoryError(
                        f"the backup {run_id} of {machine} must stay: {', '.join(children)} stands on it"
                    )
                folder.rename(aside)
                files.flush(folder.parent)
            files.remove_folder(aside)

    def check(self) -> tuple[Finding, ...]:
        with self._telling():
            return tuple(checking.check(self.path)) if self._is_marked() else ()

    def _home(self, machine: str) -> Path:
        return self.path / _safe(machine)

    def _published(self, machine: str, run_id: str) -> Path:
        return self._home(machine) / _safe(run_id)

    def _begin(self) -> None:
        """Make sure that this is a repository: mark an empty folder that has never been one, and remember it."""
        if not self._is_marked():
            with suppress(FileExistsError):
                files.make_folder(self.path)
            strangers = {entry.name for entry in self.path.iterdir()} - {LOST_AND_FOUND, MARK}
            if strangers and not self._is_marked():
                raise RepositoryError(
                    f"{self.path} is neither a repository nor empty: it holds {', '.join(sorted(strangers)[:3])}"
                )
            # Several machines may begin at once: all write the same.
            files.write(self.path / MARK, _MARK, again=True)
            files.flush(self.path)
        if self._memory is not None and not self._memory.exists():
            self._memory.parent.mkdir(parents=True, exist_ok=True)
            self._memory.write_text(f"{self.path}\n")
            files.flush(self._memory)
            files.flush(self._memory.parent)

    def _is_marked(self) -> bool:
        """Whether this is a repository. Raises RepositoryAway when it should be one."""
        remembered = self._memory is not None and self._memory.exists()  # looked up first: others may begin just now
        try:
            mark = files.read(self.path / MARK, limit=4096)
        except FileNotFoundError:
            mark = b""
        if not mark:  # none, or one whose maker was killed
            if self._memory is None:
                raise RepositoryAway(f"{self.path} is no repository: it has no {MARK}")
            if remembered:
                raise RepositoryAway(
                    f"{self.path} has no {MARK} now, though it was a repository. If it is to begin anew there, "
                    f"remove {self._memory}"
                )
            return False
        if mark != _MARK:
            raise RepositoryError(f"{self.path / MARK} is damaged, or of a version that this program does not know")
        return True

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RepositoryError(f"the repository {self.path}: {error.filename}: {error.strerror}") from error


def _safe(name: str) -> str:
    """A machine or a run as the name of a folder. Raises RepositoryError for one that would lead elsewhere."""
    if not is_name(name):
        raise RepositoryError(f"{name!r} cannot be the name of a folder in a repository")
    return name


def _no_other(staged: Path, wanted: set[str]) -> None:
    """Raise RepositoryError when the staged folder holds something else, too."""
    if others := {entry.name for entry in staged.iterdir()} - wanted:
        raise RepositoryError(f"{staged} holds {', '.join(sorted(others))}, which is no disk of the backup")


def _sealed(staged: Path, disk: StoredDisk) -> StoredDisk:
    """The disk with its size and its sum, and its file flushed."""
    path = staged / disk.file
    size, digest = files.size_and_sum(path)
    files.flush(path)
    return dataclasses.replace(disk, stored_bytes=size, sha256=digest)
