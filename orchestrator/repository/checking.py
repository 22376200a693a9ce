"""Whether everything in a repository is what it was: sums, sizes, chains, and nothing that is not ours."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from orchestrator.errors import RepositoryError
from orchestrator.model import Backup, Finding, Flaw, StoredDisk
from orchestrator.repository import files, manifest
from orchestrator.repository.layout import LOST_AND_FOUND, MARK, is_name, unfinished


def manifest_of(folder: Path) -> Backup:
    """The backup in a folder `MACHINE/RUN`, by its manifest. Raises RepositoryError when that is damaged."""
    path = folder / manifest.NAME
    try:
        backup = manifest.read(files.read(path, manifest.LARGEST))
    except OSError as error:
        raise RepositoryError(f"{path}: {error.strerror}") from error
    except RepositoryError as error:
        raise RepositoryError(f"{path}: {error}") from error
    if (backup.machine, backup.run_id) != (folder.parent.name, folder.name):
        raise RepositoryError(f"{path}: it belongs to the run {backup.run_id} of {backup.machine}")
    return backup


def check(root: Path) -> Iterator[Finding]:
    """Everything that is wrong below a repository's folder. Raises OSError when a folder cannot be read."""
    for entry in sorted(root.iterdir()):
        if is_name(entry.name) and entry.is_dir():
            yield from _Machine(root, entry).check()
        elif entry.name not in (MARK, LOST_AND_FOUND):
            yield Finding(Flaw.STRAY, entry.name, "is no machine's folder")


class _Machine:
    """The folder of one machine."""

    def __init__(self, root: Path, home: Path) -> None:
        self._root, self._home = root, home
        self._sound: dict[str, Backup] = {}

    def check(self) -> Iterator[Finding]:
        for entry in sorted(self._home.iterdir()):
            if (run := unfinished(entry.name)) is not None:
                yield self._finding(
                    Flaw.LEFTOVER, entry, "is not finished: a run or a removal was killed, or goes on", run
                )
            elif is_name(entry.name) and entry.is_dir():
                yield from self._backup(entry)
            else:
                yield self._finding(Flaw.STRAY, entry, "is no backup")
        yield from self._chains()

    def _backup(self, folder: Path) -> Iterator[Finding]:
        try:
            backup = manifest_of(folder)
        except RepositoryError as error:
            yield self._finding(Flaw.DAMAGE, folder, str(error), folder.name)
            return
        damages = list(damaged(folder, backup.disks))
        if not damages:
            self._sound[backup.run_id] = backup
        for name, text in damages:
            yield self._finding(Flaw.DAMAGE, folder / name, text, backup.run_id)
        ours = {manifest.NAME, *(disk.file for disk in backup.disks)}
        for entry in sorted(folder.iterdir()):
            if entry.name not in ours:
                yield self._finding(Flaw.STRAY, entry, "is no part of the backup", backup.run_id)

    def _chains(self) -> Iterator[Finding]:
        """What stands on something that is missing or damaged, directly or through others."""
        while broken := [each for each in self._sound.values() if each.parent and each.parent not in self._sound]:
            for backup in broken:
                del self._sound[backup.run_id]
                text = f"cannot be restored: it stands on {backup.parent}, which is missing or damaged"
                yield self._finding(Flaw.CHAIN, self._home / backup.run_id, text, backup.run_id)

    def _finding(self, flaw: Flaw, path: Path, text: str, run: str | None = None) -> Finding:
        return Finding(flaw, str(path.relative_to(self._root)), text, self._home.name, run)


def damaged(folder: Path, disks: Iterable[StoredDisk]) -> Iterator[tuple[str, str]]:
    """The files of a backup that are not what they were when it was published, each with what is wrong."""
    for disk in disks:
        try:
            size, digest = files.size_and_sum(folder / disk.file)
        except OSError as error:
            yield disk.file, f"cannot be read: {error.strerror}"
            continue
        if size != disk.stored_bytes:
            yield disk.file, f"has {size} bytes, and had {disk.stored_bytes}"
        elif digest != disk.sha256:
            yield disk.file, "is not what was written: its sum is wrong"
