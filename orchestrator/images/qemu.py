"""What qemu-img does with the images of a backup."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.errors import Rejected
from orchestrator.images import filesystems
from orchestrator.images.chain import name_of
from orchestrator.images.tools import Tools
from orchestrator.model import ExaminedFilesystem, ImageFormat

#: Where copies of disks go that are thrown away. Not /tmp, which may be in memory. TMPDIR names another place.
_SCRATCH = "/var/tmp"  # noqa: S108 - a folder of our own is made in it
#: Exit statuses of `qemu-img check`: nothing found, and clusters that nothing uses, which waste space and harm nobody.
_HARMLESS = (0, 3)
#: Lines of a report that are told: a damaged image has thousands.
_LAST_LINES = 3


class QemuImages:
    """Keeps the promises of `ports.Images`."""

    def __init__(self, clock: Clock) -> None:
        self._tools = Tools(clock)

    def flatten(self, files: Mapping[Path, Sequence[Path]], form: ImageFormat) -> None:
        asides: dict[Path, Path] = {}
        try:
            for target, chain in files.items():
                asides[target] = _new(target.with_name(f".{target.name}.partial"))
                self._convert(chain, asides[target], form)
            for target, aside in asides.items():
                aside.replace(target)
            for folder in {target.parent for target in files}:
                _flush(folder)
        except FileExistsError as error:
            raise Rejected(
                f"{error.filename} is there already: another restore writes it, or one was killed; then remove it"
            ) from error
        except OSError as error:
            raise Rejected(f"cannot write {error.filename}: {error.strerror}") from error
        finally:
            for aside in asides.values():
                with suppress(OSError):
                    aside.unlink()

    def problems(self, image: Path) -> tuple[str, ...]:
        ended = self._tools.run("qemu-img", "check", "-q", name_of([image]))
        if ended.status in _HARMLESS:
            return ()
        last = " ".join(ended.output.replace(name_of([image]), str(image)).split("\n")[-_LAST_LINES:])
        return (f"{image}: qemu-img check ended with {ended.status}: {last}",)

    @contextmanager
    def serving(self, chains: Mapping[str, Sequence[Path]]) -> Iterator[Mapping[str, Path]]:
        with _scratch() as folder, ExitStack() as servers:
            folder.chmod(0o711)  # QEMU is another user
            sockets = {disk: folder / f"disk{number}" for number, disk in enumerate(chains)}
            for disk, chain in chains.items():
                ready = sockets[disk].with_suffix(".pid")  # qemu-nbd writes it when the image is open
                options = ["--snapshot", "--cache=unsafe", "--socket", str(sockets[disk]), "--pid-file", str(ready)]
                servers.enter_context(self._tools.running("qemu-nbd", *options, name_of(chain), until=ready))
            yield sockets

    def filesystems(self, disk: str, chain: Sequence[Path]) -> tuple[ExaminedFilesystem, ...]:
        with _scratch() as folder:
            raw = _new(folder / "raw")
            self._convert(chain, raw, ImageFormat.RAW)
            return tuple(filesystems.examine(disk, raw, self._tools))

    def _convert(self, chain: Sequence[Path], to: Path, form: ImageFormat) -> None:
        """Write a chain's contents into an empty file, and flush it."""
        # qemu-img leaves the mode of a file alone, and leaves out what is zero (-S 4k, its default).
        name = name_of(chain)
        ended = self._tools.run("qemu-img", "convert", "-q", "-O", form, name, str(to))
        if ended.status != 0:
            raise Rejected(f"cannot write {to}: {ended.output.replace(name, str(chain[-1]))}")
        _flush(to)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what is thrown away."""
    try:
        with tempfile.TemporaryDirectory(prefix="quiesce-", dir=os.environ.get("TMPDIR", _SCRATCH)) as folder:
            yield Path(folder)
    except OSError as error:
        raise Rejected(f"cannot examine a backup: {error.filename}: {error.strerror}") from error


def _new(path: Path) -> Path:
    """Make an empty file for its owner alone, through no link. Raises FileExistsError."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    return path


def _flush(path: Path) -> None:
    """Make a file's contents, or the names in a folder, survive a loss of power. Raises OSError."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
