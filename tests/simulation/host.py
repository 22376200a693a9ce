"""The host, as far as a guard and its orchestrator ask it for anything: processes, the socket between them, files.

Only what the operating system does for the two is simulated, so that it happens in virtual time, and so that either may
die or hang at each such point. What they say and do is the product's own. The guard's records are real files, in
memory where the host has a file system there, and so are the locks on them.
"""

import math
import select
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from orchestrator.clock import Deadline
from orchestrator.guard import leases, process, record, watch
from orchestrator.model import Step
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Fault, Weather

#: A file system in memory, where there is one.
_MEMORY = Path("/dev/shm")

#: Starts a guard of a process, with its end of the socket.
Start = Callable[[Process, "Socket"], Process]


class Host:
    """What stands in for the modules of the standard library that the guard's two ends use."""

    def __init__(self, scheduler: Scheduler, weather: Weather, start: Start, locked: Callable[[str], None]) -> None:
        """`locked` is told of a machine that is not thawed, because somebody else thaws it already."""
        self._scheduler, self._weather, self._start, self._locked = scheduler, weather, start, locked
        #: What a started guard gets as its standard input, by the number of the file.
        self._inherited: list[Socket] = []
        #: Where the guards' records are.
        self.folder: Path

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Within the `with`, the guard's two ends run on this host."""
        scheduler = self._scheduler
        threads = SimpleNamespace(Lock=lambda: _Lock(scheduler))
        files = SimpleNamespace(environ={}, pathsep=":", set_blocking=lambda *_: None)
        kinds = _constants(socket, "AF_UNIX", "SOCK_SEQPACKET", "MSG_DONTWAIT")
        sockets = SimpleNamespace(**kinds, socketpair=self._socketpair)
        polls = SimpleNamespace(POLLIN=select.POLLIN, poll=lambda: _Poll(scheduler))
        programs = SimpleNamespace(**_constants(subprocess, "DEVNULL", "PIPE", "TimeoutExpired"), Popen=self._popen)
        signals = SimpleNamespace(SIGKILL=signal.SIGKILL, pidfd_send_signal=self._send_signal)
        with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder, ExitStack() as stack:
            self.folder = Path(folder)
            for module, names in (
                (leases, {"threading": threads, "Record": self._record}),
                (process, {"os": files, "select": polls, "socket": sockets, "subprocess": programs}),
                (watch, {"select": polls, "signal": signals, "Record": self._record}),
            ):
                stack.enter_context(patch.multiple(module, **names))
            yield

    def _record(self, path: Path) -> "Record":
        return Record(path, self._scheduler, self._locked)

    def _socketpair(self, family: int, kind: int) -> "tuple[Socket, _File]":
        ours, theirs = Socket(self._scheduler), Socket(self._scheduler)
        ours.peer, theirs.peer = theirs, ours
        self._scheduler.process.heirs.append(ours.close)
        self._inherited.append(theirs)
        return ours, _File(len(self._inherited) - 1)

    def _popen(self, command: Sequence[str], *, stdin: int, **_: object) -> "_Program":
        self._scheduler.cross("guard.start")
        if self._weather.strikes(Fault.NO_GUARD):
            raise OSError(11, "Resource temporarily unavailable")
        return _Program(self._start(self._scheduler.process, self._inherited[stdin]), self._scheduler)

    def _send_signal(self, process: Process, number: int) -> None:
        self._scheduler.kill(process)


class Socket:
    """One end of a socket that keeps packets apart (SOCK_SEQPACKET)."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.peer: Socket
        self._packets: deque[bytes] = deque()
        self._closed = self._reset = False

    def __enter__(self) -> "Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, packet: bytes, flags: int) -> None:
        self._scheduler.cross(f"guard.send {_gist(packet)}")
        if self.peer._closed:
            raise BrokenPipeError(32, "Broken pipe")
        self.peer._packets.append(packet)

    def recv(self, size: int, flags: int = 0) -> bytes:
        if self._reset:
            self._reset = False
            raise ConnectionResetError(104, "Connection reset by peer")
        if self._packets:
            packet = self._packets.popleft()
            self._scheduler.cross(f"guard.recv {_gist(packet)}")
            return packet
        if self.peer._closed:
            return b""
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.peer._reset = bool(self._packets)

    def readable(self) -> bool:
        """Whether `recv` would not block."""
        return bool(self._packets) or self.peer._closed


class _File:
    """An end of a socket that is handed to a program, by its number: whoever made it lets go of it."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def fileno(self) -> int:
        return self._number


class _Poll:
    """`select.poll`, of one socket."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._link: Socket

    def register(self, link: Socket, events: int) -> None:
        self._link = link

    def poll(self, milliseconds: float | None) -> bool:
        until = math.inf if milliseconds is None else self._scheduler.now + milliseconds / 1000
        if not self._link.readable():
            self._scheduler.pause(until, self._link.readable)
        return self._link.readable()


class _Program:
    """`subprocess.Popen`, of a guard."""

    def __init__(self, guard: Process, scheduler: Scheduler) -> None:
        self._guard, self._scheduler = guard, scheduler
        self.stderr = _Silence()

    def kill(self) -> None:
        self._scheduler.kill(self._guard)

    def wait(self, seconds: float) -> None:
        self._scheduler.pause(self._scheduler.now + seconds, lambda: not self._guard.alive)
        if self._guard.alive:
            raise subprocess.TimeoutExpired("guard", seconds)

    def poll(self) -> int | None:
        return None if self._guard.alive else 0


class _Silence:
    """What a guard that was killed has written on its standard error."""

    def fileno(self) -> int:
        return 2

    def read(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


class _Lock:
    """`threading.Lock`, for the threads of one process."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._held = scheduler, False

    def acquire(self, *, blocking: bool = True) -> bool:
        while blocking and self._held:
            self._scheduler.pause(math.inf, lambda: not self._held)
        got, self._held = not self._held, True
        return got

    def release(self) -> None:
        self._held = False

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Record(record.Record):
    """The product's record, of which a dead process lets go, as of all its files."""

    def __init__(self, path: Path, scheduler: Scheduler, locked: Callable[[str], None]) -> None:
        self._scheduler, self._locked, self._closed = scheduler, locked, False
        scheduler.cross("record.open")
        super().__init__(path)
        scheduler.process.heirs.append(self.close)

    @property
    def needed(self) -> bool:
        self._scheduler.cross("record.needed")
        return super().needed

    def lock(self, deadline: Deadline) -> bool:
        self._scheduler.cross("record.lock")
        got = super().lock(deadline)
        if not got:
            self._locked(self.path.name.split(".")[1])
        return got

    def append(self, steps: Sequence[Step]) -> None:
        self._scheduler.cross("record.append")
        super().append(steps)

    def dismiss(self) -> None:
        self._scheduler.cross("record.dismiss")
        super().dismiss()

    def remove(self) -> None:
        self._scheduler.cross("record.remove")
        super().remove()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            super().close()


def _constants(module: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names}


def _gist(packet: bytes) -> str:
    """The kind of a message, for the trace."""
    return packet.partition(b",")[0].decode().removeprefix('{"is": ').strip('"')
