"""A program that stands still where the test wants it, says so, and goes on when the test says so.

Over two FIFOs: the test holds both open for reading and writing, so that nobody waits for an open, and a program whose
test has ended reads the end of the file and ends, too.
"""

import os
import select
from pathlib import Path
from types import TracebackType
from typing import Self


class Gate:
    """Make the program `program`, which stops in the gate. Its text in shell may be given in `before` and `after`."""

    def __init__(self, folder: Path, name: str = "gate", before: str = "", after: str = "") -> None:
        self.program = folder / name
        self._paths = folder / f"{name}.entered", folder / f"{name}.open"
        for path in self._paths:
            os.mkfifo(path)
        entered, opened = self._paths
        self.program.write_text(f"#!/bin/sh\n{before}\necho >{entered}\nread -r _ <{opened} || exit 75\n{after}\n")
        self.program.chmod(0o755)

    @property
    def cut(self) -> list[str]:
        """The option `cut` of the driver `command`."""
        return [str(self.program)]

    def __enter__(self) -> Self:
        self._entered, self._opened = (os.open(path, os.O_RDWR | os.O_CLOEXEC) for path in self._paths)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._entered)
        os.close(self._opened)

    def wait_entered(self, timeout: float = 30.0) -> None:
        """Wait until the program stands in the gate."""
        ready, _, _ = select.select([self._entered], [], [], timeout)
        assert ready, f"nobody came to {self.program} within {timeout:g} s"
        os.read(self._entered, 1)

    def open(self) -> None:
        """Let one program through, be it there already or not."""
        os.write(self._opened, b"\n")
