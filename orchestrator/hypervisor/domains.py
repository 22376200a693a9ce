"""The domains of one libvirt, as places for what a backup holds (`ports.Domains`)."""

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import libvirt

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, Rejected
from orchestrator.hypervisor.connection import LibvirtConnection
from orchestrator.hypervisor.domain_xml import copy_of, throwaway
from orchestrator.model import RestoredDisk

#: Seconds for one call.
_CALL = 30.0


def _give(connection: libvirt.virConnect, files: Iterable[Path]) -> None:
    """Give files to the user as whom this libvirt runs QEMU; no file when that is our own."""
    capabilities = ET.fromstring(connection.getCapabilities())  # noqa: S314 - libvirtd wrote it, which we trust with more
    for model in capabilities.iterfind("host/secmodel"):
        label = re.fullmatch(r"\+(\d+):\+(\d+)", model.findtext("baselabel", ""))
        if model.findtext("model") == "dac" and label is not None:
            for file in files:
                os.chown(file, int(label[1]), int(label[2]))


class LibvirtDomains:
    """Reached by a connection of its own, which is made when it is first used."""

    def __init__(self, uri: str, clock: Clock) -> None:
        """`uri` is libvirt's (libvirt.org/uri.html)."""
        self._connection = LibvirtConnection(uri, clock)
        self._clock = clock

    def names(self) -> tuple[str, ...]:
        """The names of all domains, running or not, in order. Raises CallError."""

        def look(connection: libvirt.virConnect) -> tuple[str, ...]:
            return tuple(sorted(domain.name() for domain in connection.listAllDomains()))

        return self._connection.call("its domains", look, self._deadline())

    def check(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> None:
        copy_of(domain_xml, name, disks)

        if name in self.names():
            raise Rejected(f"there is a domain {name} already: choose another name")

    def define(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> str:
        definition = copy_of(domain_xml, name, disks)

        def define(connection: libvirt.virConnect) -> str:
            return str(connection.defineXML(definition).UUIDString())

        return self._connection.call(f"the definition of the domain {name}", define, self._deadline())

    @contextmanager
    def booting(self, name: str, domain_xml: str, disks: Mapping[str, Path]) -> Iterator[None]:
        definition = throwaway(domain_xml, name, disks, next(iter(disks.values())).with_name("firmware"))

        def start(connection: libvirt.virConnect) -> libvirt.virDomain:
            _give(connection, disks.values())
            return connection.createXML(definition, libvirt.VIR_DOMAIN_START_AUTODESTROY)

        domain = self._connection.call(f"the start of the domain {name}", start, self._deadline())
        try:
            yield
        finally:
            with suppress(CallError):  # it has ended by itself, or ends with the connection
                self._connection.call(f"the end of the domain {name}", lambda _: domain.destroy(), self._deadline())

    def close(self) -> None:
        self._connection.reset()

    def _deadline(self) -> Deadline:
        return Deadline.after(self._clock, _CALL)
