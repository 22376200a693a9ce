"""The power of a QEMU without libvirt: its monitor has the power button, and tells its events (qapi/run-state.json)."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

from orchestrator.acts import PowerAct, PowerRequest
from orchestrator.clock import Deadline
from orchestrator.errors import Rejected
from orchestrator.hypervisor.monitor import Monitor

_EVENTS: Mapping[PowerAct, Collection[str]] = {
    PowerAct.SHUTDOWN: ("SHUTDOWN",),
    PowerAct.REBOOT: ("RESET",),
    PowerAct.SUSPEND: ("SUSPEND", "SUSPEND_DISK"),
    PowerAct.WAKEUP: ("WAKEUP",),
}
_COMMANDS = {PowerAct.SHUTDOWN: "system_powerdown", PowerAct.WAKEUP: "system_wakeup"}


class QmpWatch:
    """What QEMU's events have shown since we began to listen."""

    def __init__(self, monitor: Monitor, names: Collection[str]) -> None:
        self._monitor, self._names = monitor, names

    def wait(self, deadline: Deadline) -> str | None:
        """The event's name, or None when none came by `deadline`."""
        return self._monitor.await_event(self._names, deadline)


class QmpPower:
    """One QEMU process's power."""

    def __init__(self, socket: str) -> None:
        self._monitor = Monitor(socket)

    @contextmanager
    def watching(self, act: PowerAct, deadline: Deadline) -> Iterator[QmpWatch]:
        """Within the `with`, no event that shows `act` is missed. Raises CallError when that cannot be promised."""
        self._monitor.execute("query-status", {}, deadline)  # connected: from now on events wait for us
        yield QmpWatch(self._monitor, _EVENTS[act])

    def ask(self, request: PowerRequest, deadline: Deadline) -> None:
        """Press the power button, or wake the machine. Raises Rejected for what QEMU has no button for."""
        if request.act not in _COMMANDS:
            raise Rejected(f"QEMU without libvirt has no button to {request.act} a guest; use --mode agent")
        self._monitor.execute(_COMMANDS[request.act], {}, deadline)

    def close(self) -> None:
        """Let go of the monitor."""
        self._monitor.close()
