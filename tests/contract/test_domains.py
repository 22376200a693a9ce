"""One suite for the domains of a libvirt: the fake in memory, and the real one."""

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import Rejected
from orchestrator.hypervisor.domains import LibvirtDomains
from orchestrator.model import ImageFormat, RestoredDisk
from orchestrator.ports import Domains
from tests.backups import domain_xml
from tests.fakes.domains import FakeDomains
from tests.lab import libvirtd
from tests.lab.libvirtd import URI, virsh

NAME = "qlab-restored"
SAVED = domain_xml("vda").replace(
    "<devices>",
    "<memory>65536</memory><os><type>hvm</type></os>"
    "<devices><interface type='user'><mac address='52:54:00:12:34:56'/></interface>",
)
DISKS = (RestoredDisk("vda", "/restored/vda.qcow2", ImageFormat.QCOW2),)


@pytest.fixture
def fake() -> FakeDomains:
    return FakeDomains()


@pytest.fixture
def real() -> Iterator[Domains]:
    libvirtd.ensure()
    with closing(LibvirtDomains(URI, SystemClock())) as domains:
        yield domains
        if NAME in virsh("list", "--all", "--name").split():
            virsh("undefine", NAME)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.real)])
def domains(request: pytest.FixtureRequest) -> Domains:
    found: Domains = request.getfixturevalue(request.param)
    return found


def test_a_domain_is_defined_once(domains: Domains) -> None:
    domains.check(NAME, SAVED, DISKS)

    uuid = domains.define(NAME, SAVED, DISKS)

    assert uuid
    assert uuid not in SAVED
    with pytest.raises(Rejected, match=f"there is a domain {NAME} already"):
        domains.check(NAME, SAVED, DISKS)


def test_disks_that_do_not_fit_are_rejected(domains: Domains) -> None:
    for call in (domains.check, domains.define):
        with pytest.raises(Rejected, match="has a disk vda that was not restored"):
            call(NAME, SAVED, ())


@pytest.mark.real
def test_what_libvirt_makes_of_the_definition(real: Domains) -> None:
    uuid = real.define(NAME, SAVED, DISKS)

    definition = virsh("dumpxml", NAME)
    assert f"<uuid>{uuid}</uuid>" in definition
    assert "/restored/vda.qcow2" in definition
    assert "52:54:00:12:34:56" not in definition
    assert re.search(r"<mac address='52:54:00:", definition)
    assert virsh("domstate", NAME).strip() == "shut off"
