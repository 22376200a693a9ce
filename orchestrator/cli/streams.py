"""Standard output and standard error that never raise.

A reader that goes away (`quiesce history | head`), a closed terminal or a full disk must not turn into an exception in
the middle of a run. What is written after the first failure is dropped.
"""

import errno
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from orchestrator.escape import escape


class Stream(io.TextIOBase):
    """One of the process's streams, or nothing when the process was started without it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._terminal = stream is not None and stream.isatty()
        #: Why something is missing at a reader's who may still be there; None as well when the reader went away.
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):  # whatever the locale's encoding cannot say is shown by its code
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        if self._stream is not None:
            with self._noting():
                self._stream.write(text)
                self._stream.flush()
        return len(text)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Within the `with`, the first failure is noted, and ends all writing."""
        try:
            yield
        except OSError as error:
            self._stream = None
            closed = isinstance(error, BrokenPipeError) or (self._terminal and error.errno == errno.EIO)
            self.error = None if closed else error

    def pass_on(self, data: bytes) -> None:
        """Write what a guest wrote: as it is into a pipe or a file, and escaped on a terminal."""
        if self._terminal or not isinstance(self._stream, io.TextIOWrapper):
            lines = data.decode(errors="backslashreplace").split("\n")
            self.write("\n".join(escape(line, limit=len(line)) for line in lines))
        else:
            with self._noting():
                self._stream.flush()  # what is buffered comes first
                self._stream.buffer.write(data)
                self._stream.buffer.flush()

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a plain attribute
        return self._stream.encoding if self._stream is not None else "utf-8"
