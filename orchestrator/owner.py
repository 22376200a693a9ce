"""Which process owns a run, and whether it still lives. Read from Linux's `/proc` (proc(5))."""

import os
import socket
from pathlib import Path

from orchestrator.model import Owner

_PROC = Path("/proc")


def current() -> Owner:
    """This process."""
    pid = os.getpid()
    started = _started(pid)
    assert started is not None
    return Owner(host=socket.gethostname(), boot=_boot(), pid=pid, started=started)


def is_gone(owner: Owner) -> bool:
    """Whether that process has certainly ended.

    A process of another host is never certain from here: that host's own recovery settles its runs.
    """
    if owner.host != socket.gethostname():
        return False
    return owner.boot != _boot() or _started(owner.pid) != owner.started


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _started(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None when it has ended (a zombie has ended too)."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may itself contain spaces and parentheses.
    fields = stat.rpartition(")")[2].split()
    state, started = fields[0], int(fields[19])
    return None if state in {"Z", "X"} else started
