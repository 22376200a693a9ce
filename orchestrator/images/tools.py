"""Running the tools: each in a process that ends with us."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import Rejected
from orchestrator.programs import Ended, run

#: Seconds for one program. Nobody waits for longer than that to be told that a disk is lost.
_LONGEST = 7 * 86400.0
#: Seconds for a program to be ready, and between two looks.
_START, _PAUSE = 60.0, 0.05
#: Bytes of a tool's words that are kept: `xfs_repair` has some for each part of a large file system.
_WORDS = 1024 * 1024


class Tools:
    """Runs qemu-img and its like, in no language but C: their words are read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def run(self, *arguments: str) -> Ended:
        """Run a program until it ends. One that were left behind would go on writing for hours.

        Raises Rejected when it is not there, OutcomeUnknown when it does not end.
        """
        return run(_guarded(arguments), Deadline.after(self._clock, _LONGEST), {**os.environ, "LC_ALL": "C"}, _WORDS)

    @contextmanager
    def running(self, *arguments: str, until: Path) -> Iterator[None]:
        """Within the `with`, a program runs that has made the file `until`. Raises Rejected when it does not."""
        deadline = Deadline.after(self._clock, _START)
        with tempfile.TemporaryFile() as words:
            try:
                process = subprocess.Popen(  # noqa: S603 - arguments are our own, and no shell reads them
                    _guarded(arguments), stdin=subprocess.DEVNULL, stdout=words, stderr=words, start_new_session=True
                )
            except OSError as error:
                raise Rejected(f"{arguments[0]} cannot be run: {error}") from error
            try:
                while not until.exists():
                    if process.poll() is not None or deadline.passed:
                        words.seek(0)
                        raise Rejected(f"{arguments[0]} did not start: {words.read(_WORDS).decode(errors='replace')}")
                    self._clock.sleep(_PAUSE)
                yield
            finally:
                process.kill()
                process.wait()


def _guarded(arguments: Sequence[str]) -> list[str]:
    """The program, which the kernel kills when the thread that started it has ended (prctl(2), PR_SET_PDEATHSIG)."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *arguments]
