"""What qemu-img does with the images of a backup."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import Rejected
from orchestrator.images.chain import name_of
from orchestrator.model import ImageFormat
from orchestrator.programs import Ended, run

#: Seconds for one program. Nobody waits for longer than that to be told that a disk is lost.
_LONGEST = 7 * 86400.0
#: Exit statuses of `qemu-img check`: nothing found, and clusters that nothing uses, which waste space and harm nobody.
_HARMLESS = (0, 3)
#: Lines of a report that are told: a damaged image has thousands.
_LAST_LINES = 3


class QemuImages:
    """Keeps the promises of `ports.Images`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def flatten(self, files: Mapping[Path, Sequence[Path]], form: ImageFormat) -> None:
        asides = {target: target.with_name(f".{target.name}.partial") for target in files}
        try:
            for target, chain in files.items():
                self._convert(chain, asides[target], form)
            for target, aside in asides.items():
                aside.replace(target)
            for folder in {target.parent for target in files}:
                _flush(folder)
        except OSError as error:
            raise Rejected(f"cannot write {error.filename}: {error.strerror}") from error
        finally:
            for aside in asides.values():
                with suppress(OSError):
                    aside.unlink()

    def problems(self, image: Path) -> tuple[str, ...]:
        ended = self._run("qemu-img", "check", "-q", name_of([image]))
        if ended.status in _HARMLESS:
            return ()
        last = " ".join(ended.output.replace(name_of([image]), str(image)).split("\n")[-_LAST_LINES:])
        return (f"{image}: qemu-img check ended with {ended.status}: {last}",)

    def _convert(self, chain: Sequence[Path], to: Path, form: ImageFormat) -> None:
        """Write a chain's contents into one file, and flush it."""
        to.touch(mode=0o600)
        to.chmod(0o600)
        # qemu-img leaves the mode of a file alone, and leaves out what is zero (-S 4k, its default).
        name = name_of(chain)
        ended = self._run("qemu-img", "convert", "-q", "-O", form, name, str(to))
        if ended.status != 0:
            raise Rejected(f"cannot write {to}: {ended.output.replace(name, str(chain[-1]))}")
        _flush(to)

    def _run(self, *arguments: str) -> Ended:
        """Run a program that ends with us: one that is left behind would go on writing for hours."""
        guarded = ["setpriv", "--pdeathsig", "KILL", "--", *arguments]
        return run(guarded, Deadline.after(self._clock, _LONGEST))


def _flush(path: Path) -> None:
    """Make a file's contents, or the names in a folder, survive a loss of power. Raises OSError."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
