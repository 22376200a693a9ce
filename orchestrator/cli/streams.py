"""Standard output and standard error that never raise.

A reader that goes away (`quiesce history | head`), a closed terminal or a full disk must not turn into an exception in
the middle of a run. What is written after the first failure is dropped.
"""

import errno
import io
from typing import TextIO


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
            try:
                self._stream.write(text)
                self._stream.flush()
            except OSError as error:
                self._stream = None
                closed = isinstance(error, BrokenPipeError) or (self._terminal and error.errno == errno.EIO)
                self.error = None if closed else error
        return len(text)

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]  # the base class has a plain attribute
        return self._stream.encoding if self._stream is not None else "utf-8"
