"""The agent's channels of a libvirt domain: listed, added and removed, in the running machine and in its definition."""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TypeVar

import libvirt

from orchestrator.acts import AgentChannel, Scope
from orchestrator.clock import Clock, Deadline
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.hypervisor.channel_xml import Found, channel, channels, has_bus
from orchestrator.hypervisor.connection import LibvirtConnection

T = TypeVar("T")

_FLAGS = {Scope.LIVE: libvirt.VIR_DOMAIN_AFFECT_LIVE, Scope.CONFIG: libvirt.VIR_DOMAIN_AFFECT_CONFIG}
#: Seconds between two looks whether the guest has let go of a channel.
_LOOK = 0.2


class LibvirtChannels:
    """One domain's channels."""

    def __init__(self, uri: str, domain: str, clock: Clock) -> None:
        self._connection = LibvirtConnection(uri, clock)
        self._name = domain

    def scopes(self, deadline: Deadline) -> tuple[Scope, ...]:
        """What the domain has: a running machine, a definition, or both.

        A machine that runs without a bus for channels cannot get any: libvirt plugs that in with the machine off only.
        """

        def look(domain: libvirt.virDomain) -> tuple[Scope, ...]:
            live = domain.isActive() and has_bus(domain.XMLDesc())
            return (*([Scope.LIVE] if live else []), *([Scope.CONFIG] if domain.isPersistent() else []))

        return self._call("show", look, deadline)

    def list(self, deadline: Deadline) -> tuple[AgentChannel, ...]:
        """All its named virtio channels, by name."""
        found = self._look(deadline)
        names = sorted({each.name for there in found.values() for each in there.values()})
        return tuple(_channel(name, found) for name in names)

    def add(self, name: str, path: str | None, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        """Add a channel where it is missing, and return where that was (`virDomainAttachDeviceFlags`)."""
        found = self._look(deadline)
        missing = tuple(scope for scope in scopes if name not in found[scope])
        for scope in missing:
            self._call("add", partial(_attach, channel(name, path), scope), deadline)
        return missing

    def remove(self, name: str, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        """Remove a channel where it is, and return where that was (`virDomainDetachDeviceFlags`).

        Raises OutcomeUnknown when the running guest has not let go of it by `deadline`: it may still do so.
        """
        found = self._look(deadline)
        there = tuple(scope for scope in scopes if name in found[scope])
        for scope in there:
            self._call("remove", partial(_detach, found[scope][name].xml, scope), deadline)
        while any(name in self._look(deadline)[scope] for scope in there):
            if deadline.passed:
                raise OutcomeUnknown(f"the guest has not let go of the channel {name}")
            deadline.clock.sleep(min(_LOOK, deadline.remaining()))
        return there

    def close(self) -> None:
        """Drop the connection. Never raises."""
        self._connection.reset()

    def _look(self, deadline: Deadline) -> Mapping[Scope, Mapping[str, Found]]:
        def look(domain: libvirt.virDomain) -> dict[Scope, dict[str, Found]]:
            texts = {}
            if domain.isActive():
                texts[Scope.LIVE] = domain.XMLDesc()
            if domain.isPersistent():
                texts[Scope.CONFIG] = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            return {scope: {found.name: found for found in channels(text)} for scope, text in texts.items()}

        return self._call("show", look, deadline)

    def _call(self, what: str, work: Callable[[libvirt.virDomain], T], deadline: Deadline) -> T:
        def find_and_work(connection: libvirt.virConnect) -> T:
            try:
                domain = connection.lookupByName(self._name)
            except libvirt.libvirtError as error:
                raise Rejected(f"there is no domain {self._name} at {self._connection.uri}: {error}") from error
            return work(domain)

        return self._connection.call(f"{what} a channel of the domain {self._name}", find_and_work, deadline)


def _channel(name: str, found: Mapping[Scope, Mapping[str, Found]]) -> AgentChannel:
    scopes = tuple(scope for scope, there in found.items() if name in there)
    live = found.get(Scope.LIVE, {}).get(name)
    return AgentChannel(
        name=name,
        scopes=scopes,
        connected=None if live is None else live.state == "connected",
        path=found[scopes[0]][name].path,
    )


def _attach(xml: str, scope: Scope, domain: libvirt.virDomain) -> None:
    domain.attachDeviceFlags(xml, _FLAGS[scope])


def _detach(xml: str, scope: Scope, domain: libvirt.virDomain) -> None:
    domain.detachDeviceFlags(xml, _FLAGS[scope])
