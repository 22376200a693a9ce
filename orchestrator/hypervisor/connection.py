"""A connection to libvirt on which no call outlasts its deadline, although none of them can be cancelled."""

import contextlib
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import libvirt

from orchestrator.clock import Clock, Deadline, Task
from orchestrator.errors import CallError, OutcomeUnknown, Rejected, Unreachable

T = TypeVar("T")

#: libvirt gives a connection up when this many probes, this many seconds apart, were not answered. That ends the calls
#: which were left behind on it.
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3

#: Errors that libvirt's client raises about the connection itself.
_CONNECTION_BROKE = (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)


class LibvirtConnection:
    """One connection to `uri`, made when it is first used, and made anew when it is dead or a call on it is overdue.

    Each machine has its own: libvirtd reads no further request of a client that has five unanswered
    (`max_client_requests` in libvirtd.conf), so on a shared connection the slow freezes of five guests would hold up
    the thaw of a sixth.
    """

    def __init__(self, uri: str, clock: Clock) -> None:
        self.uri = uri
        self._clock = clock
        self._current: libvirt.virConnect | None = None

    def call(self, what: str, work: Callable[[libvirt.virConnect], T], deadline: Deadline) -> T:
        """Do `work` with the connection on a thread of its own, which is left behind when `deadline` passes.

        Raises Unreachable when `work` was not begun and will not be, Rejected for an error that libvirt answered, and
        OutcomeUnknown when `deadline` passed or the connection broke meanwhile.
        """
        first = threading.Lock()  # taken by the work when it begins, or by whoever gives it up before

        def work_when_connected() -> T:
            connection = self._connected()
            if not first.acquire(blocking=False):
                raise Unreachable(f"{what}: given up before it was sent")
            return work(connection)

        task = Task(self._clock, f"{what} at {self.uri}", work_when_connected)
        if not task.wait(deadline):
            self.reset()
            if first.acquire(blocking=False):
                raise Unreachable(f"libvirt at {self.uri} did not answer in time; nothing was sent: {what}")
            raise OutcomeUnknown(f"libvirt at {self.uri} did not answer in time: {what}")
        try:
            return task.result()
        except CallError:
            raise
        except libvirt.libvirtError as error:
            if error.get_error_domain() in _CONNECTION_BROKE:
                self.reset()
                raise OutcomeUnknown(f"the connection to libvirt at {self.uri} broke: {what}: {error}") from error
            raise Rejected(f"libvirt at {self.uri} refused: {what}: {error}") from error
        except Exception as error:  # the binding raises SystemError and UnicodeError for what it cannot convert
            raise OutcomeUnknown(f"libvirt at {self.uri}: {what}: {type(error).__name__}: {error}") from error

    def reset(self) -> None:
        """Forget the connection. Never raises, and never waits.

        It is not closed here: closing is a call to libvirtd too, and a call that was left behind may still use it. Its
        last reference closes it, on a thread that nobody waits for.
        """
        forgotten = [self._current]
        self._current = None
        self._clock.start("libvirt goodbye", forgotten.clear)

    def _connected(self) -> libvirt.virConnect:
        connection = self._current
        if connection is None or not connection.isAlive():
            self._current = connection = _connect(self.uri)
        return connection


def _connect(uri: str) -> libvirt.virConnect:
    _run_event_loop()
    try:
        connection = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise Unreachable(f"cannot connect to libvirt at {uri}: {error}") from error
    with contextlib.suppress(libvirt.libvirtError):  # a driver without a daemon has none
        connection.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_COUNT)
    return connection


_event_loop_lock = threading.Lock()


def _run_event_loop() -> None:
    """Run libvirt's event loop, which keepalive needs: once per process, and before the first connection."""
    with _event_loop_lock:
        _start_event_loop()


@cache
def _start_event_loop() -> None:
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # it would print every error that we raise
    libvirt.virEventRegisterDefaultImpl()

    def run() -> None:
        while True:
            libvirt.virEventRunDefaultImpl()

    threading.Thread(target=run, name="libvirt events", daemon=True).start()
