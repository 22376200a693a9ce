"""The domains of a libvirt, in memory."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import Rejected
from orchestrator.hypervisor.domain_xml import copy_of, throwaway
from orchestrator.model import RestoredDisk


class FakeDomains:
    """Keeps the promises of `ports.Domains`. One instance stands for every connection to it."""

    def __init__(self, *names: str) -> None:
        #: The definitions, by name.
        self.defined = dict.fromkeys(names, "<domain/>")
        #: What `define` raises.
        self.error: Exception | None = None

    def check(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> None:
        copy_of(domain_xml, name, disks)
        if name in self.defined:
            raise Rejected(f"there is a domain {name} already: choose another name")

    def define(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> str:
        if self.error is not None:
            raise self.error
        self.defined[name] = copy_of(domain_xml, name, disks)
        return f"uuid of {name}"

    @contextmanager
    def booting(self, name: str, domain_xml: str, disks: Mapping[str, Path]) -> Iterator[None]:
        self.defined[name] = throwaway(domain_xml, name, disks, Path("/firmware"))
        yield
        del self.defined[name]

    def close(self) -> None:
        """Nothing to release."""
