"""The domains of one libvirt, as places for what a backup holds (`ports.Domains`)."""

from collections.abc import Sequence

import libvirt

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import Rejected
from orchestrator.hypervisor.connection import LibvirtConnection
from orchestrator.hypervisor.domain_xml import copy_of
from orchestrator.model import RestoredDisk

#: Seconds for one call.
_CALL = 30.0


class LibvirtDomains:
    """Reached by a connection of its own, which is made when it is first used."""

    def __init__(self, uri: str, clock: Clock) -> None:
        """`uri` is libvirt's (libvirt.org/uri.html)."""
        self._connection = LibvirtConnection(uri, clock)
        self._clock = clock

    def check(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> None:
        copy_of(domain_xml, name, disks)

        def look(connection: libvirt.virConnect) -> bool:
            return name in {domain.name() for domain in connection.listAllDomains()}

        if self._connection.call(f"whether there is a domain {name}", look, self._deadline()):
            raise Rejected(f"there is a domain {name} already: choose another name")

    def define(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> str:
        definition = copy_of(domain_xml, name, disks)

        def define(connection: libvirt.virConnect) -> str:
            return str(connection.defineXML(definition).UUIDString())

        return self._connection.call(f"the definition of the domain {name}", define, self._deadline())

    def close(self) -> None:
        self._connection.reset()

    def _deadline(self) -> Deadline:
        return Deadline.after(self._clock, _CALL)
