"""Which process owns a run, whether it still lives, and who started it. Read from Linux's `/proc` (proc(5))."""

import os
import pwd
import socket
from pathlib import Path

from orchestrator.model import Owner

_PROC = Path("/proc")


def current() -> Owner:
    """This process."""
    pid = os.getpid()
    started = _started(pid)
    assert started is not None
    return Owner(socket.gethostname(), _boot(), pid, started, _namespace())


def operator() -> str:
    """Who has started this process, for the history: `user@host`, or `user as root@host` through sudo."""
    user = _user(os.getuid())
    through = os.environ.get("SUDO_UID", "")
    if os.getuid() == 0 and through.isdecimal() and int(through) != 0:
        user = f"{_user(int(through))} as {user}"
    return f"{user}@{socket.gethostname()}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):  # a container has numbers without names
        return str(number)


def is_gone(owner: Owner) -> bool:
    """Whether nobody has it in hand any more, for certain: that process has ended, or let go.

    Of another host, or of another container that passes for this host, nobody can be certain from here.
    """
    if owner.host != socket.gethostname():
        return False
    if owner.boot != _boot() or owner.pid == 0:
        return True
    if owner.namespace is not None and owner.namespace != _namespace():
        return False
    started = _started(owner.pid)
    return not _is_hidden(owner.pid) if started is None else started != owner.started


def _is_hidden(pid: int) -> bool:
    """Whether there is such a process of another user, whom `/proc` keeps to itself (the mount option `hidepid`)."""
    if (_PROC / str(pid)).exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _boot() -> str:
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _namespace() -> int:
    return (_PROC / "self/ns/pid").stat().st_ino


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
