"""A libvirt domain's power: asked for by libvirt's calls, and seen by its events (libvirt.org, libvirt-domain.h)."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import libvirt

from orchestrator.acts import PowerAct, PowerMode, PowerRequest, SuspendTarget
from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError
from orchestrator.hypervisor.connection import LibvirtConnection

_SHUTDOWN = {
    PowerMode.DEFAULT: libvirt.VIR_DOMAIN_SHUTDOWN_DEFAULT,
    PowerMode.ACPI: libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
    PowerMode.AGENT: libvirt.VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
}
_REBOOT = {
    PowerMode.DEFAULT: libvirt.VIR_DOMAIN_REBOOT_DEFAULT,
    PowerMode.ACPI: libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN,
    PowerMode.AGENT: libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT,
}
_SUSPEND = {
    SuspendTarget.MEM: libvirt.VIR_NODE_SUSPEND_TARGET_MEM,
    SuspendTarget.DISK: libvirt.VIR_NODE_SUSPEND_TARGET_DISK,
    SuspendTarget.HYBRID: libvirt.VIR_NODE_SUSPEND_TARGET_HYBRID,
}
#: For each act, the events that show it, with our names; of the lifecycle, the event in it.
_EVENTS: Mapping[PowerAct, Mapping[tuple[int, int | None], str]] = {
    PowerAct.SHUTDOWN: {(libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, libvirt.VIR_DOMAIN_EVENT_STOPPED): "stopped"},
    PowerAct.REBOOT: {(libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, None): "reboot"},
    PowerAct.SUSPEND: {
        (libvirt.VIR_DOMAIN_EVENT_ID_PMSUSPEND, None): "pmsuspend",
        (libvirt.VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK, None): "pmsuspend-disk",
    },
    PowerAct.WAKEUP: {(libvirt.VIR_DOMAIN_EVENT_ID_PMWAKEUP, None): "pmwakeup"},
}
#: Seconds to stop listening.
_FAREWELL = 2.0


class LibvirtWatch:
    """What libvirt's events have shown since we began to listen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._happened = threading.Event()
        self._name: str | None = None

    def tell(self, name: str) -> None:
        """It happened. To be called from libvirt's event loop: returns at once."""
        self._name = self._name or name
        self._happened.set()

    def wait(self, deadline: Deadline) -> str | None:
        """The event's name, or None when none came by `deadline`."""
        self._clock.wait(self._happened, deadline)
        return self._name


class LibvirtPower:
    """One domain's power. What is asked and what is seen have connections of their own: a question that does not end
    must not take the events with it.
    """

    def __init__(self, uri: str, domain: str, clock: Clock) -> None:
        self._asking, self._events = LibvirtConnection(uri, clock), LibvirtConnection(uri, clock)
        self._name, self._clock = domain, clock

    @contextmanager
    def watching(self, act: PowerAct, deadline: Deadline) -> Iterator[LibvirtWatch]:
        """Within the `with`, no event that shows `act` is missed. Raises CallError when that cannot be promised."""
        watch = LibvirtWatch(self._clock)

        def listen(connection: libvirt.virConnect) -> list[int]:
            domain = connection.lookupByName(self._name)
            return [
                connection.domainEventRegisterAny(domain, kind, _listener(watch, wanted, name), None)
                for (kind, wanted), name in _EVENTS[act].items()
            ]

        handles = self._events.call(f"the events of {self._name}", listen, deadline)
        try:
            yield watch
        finally:
            with suppress(CallError):
                self._events.call(
                    f"the end of the events of {self._name}",
                    lambda connection: [connection.domainEventDeregisterAny(handle) for handle in handles],
                    Deadline.after(self._clock, _FAREWELL),
                )

    def ask(self, request: PowerRequest, deadline: Deadline) -> None:
        """`virDomainShutdownFlags`, `virDomainReboot`, `virDomainPMSuspendForDuration` or `virDomainPMWakeup`."""

        def ask(connection: libvirt.virConnect) -> None:
            domain = connection.lookupByName(self._name)
            match request.act:
                case PowerAct.SHUTDOWN:
                    domain.shutdownFlags(_SHUTDOWN[request.mode])
                case PowerAct.REBOOT:
                    domain.reboot(_REBOOT[request.mode])
                case PowerAct.SUSPEND:
                    domain.pMSuspendForDuration(_SUSPEND[request.target], 0, 0)
                case PowerAct.WAKEUP:
                    domain.pMWakeup(0)

        self._asking.call(f"the {request.act} of {self._name}", ask, deadline)

    def close(self) -> None:
        """Drop the connections. Never raises."""
        self._asking.reset()
        self._events.reset()


def _listener(watch: LibvirtWatch, wanted: int | None, name: str) -> Any:
    """A callback for libvirt, which gives a lifecycle event as the third argument."""

    def listen(_connection: object, _domain: object, *details: Any) -> None:
        if wanted is None or details[0] == wanted:
            watch.tell(name)

    return listen
