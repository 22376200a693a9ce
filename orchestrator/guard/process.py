"""One guard process, as the orchestrator sees it: how it is started, and the socket to it."""

import math
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.clock import Deadline
from orchestrator.guard.wire import LONGEST, Armed, Message, decode, encode

#: There, when systemd has booted this host (sd_booted(3)).
_SYSTEMD = Path("/run/systemd/system")

#: Guards that were left while they were at work: kept, so that each is waited for when it has ended.
_left: list[subprocess.Popen[bytes]] = []

Command = Sequence[str]


class Gone(Exception):
    """The guard has ended, or does not read or answer any more. The message says what is known of why."""


def commands() -> tuple[Command, Command]:
    """How a guard is started, and how it is when that did not work.

    A service of systemd gives it a scope of its own: at the end of a service, systemd kills all that is left in its
    control group by SIGKILL (`KillMode=mixed`), and nobody in there survives that. Where it may not have one, it is
    started plainly.
    """
    # Without `site`, which takes half as long as all that the guard imports, and would only make the same path again.
    plain = [sys.executable, "-P", "-S", "-m", "orchestrator.guard_main"]
    scope = shutil.which("systemd-run")
    if scope is None or not _SYSTEMD.exists() or "INVOCATION_ID" not in os.environ:
        return plain, plain
    manager = [] if os.geteuid() == 0 else ["--user"]
    return [scope, *manager, "--scope", "--quiet", "--collect", "--", *plain], plain


class Process:
    """One guard process, from its start to its end. `tell` may be called by any thread."""

    def __init__(self, command: Command) -> None:
        """Start it, and do not wait for it. Raises Gone when it cannot be started."""
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        modules = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path if folder)
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    command,
                    stdin=theirs.fileno(),  # which whatever stands between leaves alone; nothing else is shared
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    cwd="/",
                    env={**os.environ, "PYTHONPATH": modules},
                    start_new_session=True,
                )
            except OSError as error:
                self._link.close()
                raise Gone(f"{command[0]}: {error.strerror}") from error

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def tell(self, message: Message) -> None:
        """Send a message, without waiting. Raises Gone when it has ended, or has long not read its messages."""
        try:
            self._link.send(encode(message), socket.MSG_DONTWAIT)
        except OSError as error:
            raise Gone(f"it takes no message: {error.strerror}") from error

    def hear(self, deadline: Deadline) -> Armed:
        """Its next answer. Raises Gone when it ended, or did not answer in time."""
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        try:
            packet = self._link.recv(LONGEST) if poll.poll(math.ceil(deadline.remaining() * 1000)) else None
        except OSError:
            packet = b""
        if packet is None:
            raise Gone("it did not answer in time")
        if not packet:
            raise Gone(self._last_words())
        message = decode(packet)
        assert isinstance(message, Armed)
        return message

    def kill(self) -> None:
        """End it by force; it thaws nothing. Never raises, and does not wait."""
        self._process.kill()

    def close(self) -> None:
        """Let go of the socket, as the orchestrator's end would, and forget it: with nothing armed, it ends at once."""
        self._link.close()
        if self._process.stderr is not None:
            self._process.stderr.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:  # it is at work
            _left.append(self._process)
        _left[:] = [process for process in _left if process.poll() is None]

    def _last_words(self) -> str:
        """What it wrote when it could not start: the last line, which is what Python's tracebacks end with."""
        assert self._process.stderr is not None
        os.set_blocking(self._process.stderr.fileno(), False)
        said = (self._process.stderr.read() or b"").decode(errors="replace").strip()
        return said.rpartition("\n")[2] or "it ended"
