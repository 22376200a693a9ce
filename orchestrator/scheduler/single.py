"""One service for each state folder, and how it is found: a file with its process id, which it keeps locked."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import NotFound, QuiesceError


class Served(QuiesceError):
    """Another service has this state folder."""

    advice = "End that one first, or give each of them a journal of its own."


@contextmanager
def only_one(file: Path) -> Iterator[None]:
    """Within the `with`, this process is the service. Raises Served when there is another one."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("a+") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Served(f"there is a service already: process {file.read_text().strip()}") from None
        opened.truncate(0)
        opened.write(f"{os.getpid()}\n")
        opened.flush()
        yield


def hang_up(file: Path) -> int:
    """Send SIGHUP to the service, and return its process id. Raises NotFound when there is none."""
    try:
        with file.open() as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = int(opened.read())
                os.kill(pid, signal.SIGHUP)
                return pid
    except (OSError, ValueError):  # it has just ended, or does not say yet who it is
        pass
    raise NotFound("there is no service that could read its configuration again: start it with `quiesce serve`")
