"""Machines that are not there, or not as they must be: a message that names them, exit code 1, nothing touched."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, outcomes, target
from tests.lab import BareGuest, LibvirtGuest, Spec, libvirtd

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


@pytest.fixture
def without_channel(lab: None) -> Iterator[str]:
    """A domain without a channel for the agent. It need not boot: libvirt knows that there is none."""
    guest = LibvirtGuest(Spec(channels=()))
    yield guest.start().name
    guest.stop()


@pytest.fixture
def shut_off(libvirt_guest: LibvirtGuest, tmp_path: Path) -> Iterator[str]:
    """A domain that is defined and not running."""
    name = f"{libvirt_guest.name}-off"
    definition = libvirtd.virsh("dumpxml", libvirt_guest.name, "--inactive")
    definition = re.sub("<uuid>.*</uuid>", "", definition).replace(libvirt_guest.name, name)
    (tmp_path / "off.xml").write_text(definition)
    libvirtd.virsh("define", str(tmp_path / "off.xml"))
    yield name
    libvirtd.end_domain(name)


def test_each_machine_fails_for_itself_and_the_others_are_done(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest, shut_off: str, without_channel: str
) -> None:
    before = {guest: guest.active_disks() for guest in (bare_guest, libvirt_guest)}
    product.machine("edge", bare_guest)
    product.machine("db", libvirt_guest)
    product.table("machines.ghost", hypervisor="local", domain="no-such-domain")
    product.table("machines.off", hypervisor="local", domain=shut_off)
    product.table("machines.dumb", hypervisor="local", domain=without_channel)
    product.table("machines.nowhere", agent="unix:/nowhere/qga.sock", qmp="unix:/nowhere/qmp.sock")
    product.table("hypervisors.gone", uri="qemu+unix:///system?socket=/nowhere/libvirt-sock")
    product.table("machines.lost", hypervisor="gone", domain="db")
    product.job("*")
    ended = product.run()

    assert (ended.code, ended.run["state"]) == (1, "failed")
    states = {each["machine"]: each["state"] for each in ended.run["targets"]}
    failed = ("ghost", "off", "dumb", "nowhere", "lost")
    assert states == {"edge": "done", "db": "done", **dict.fromkeys(failed, "failed")}
    for machine, said in (
        ("ghost", "there is no domain no-such-domain at qemu:///system"),
        ("off", "the machine is shut off"),
        ("dumb", "QEMU guest agent is not configured"),
        ("nowhere", "/nowhere/qmp.sock"),
        ("lost", "/nowhere/libvirt-sock"),
    ):
        assert said in target(ended.run, machine)["error"]
        assert re.search(rf"^FAILED {machine}: .*The guest was never frozen", ended.err, re.MULTILINE)
        assert outcomes(ended.run, machine) == [("preflight", "failed")]
    for guest, disks in before.items():
        assert guest.active_disks() != disks
        assert not guest.fs_frozen()
    assert libvirtd.virsh("domstate", shut_off).strip() == "shut off"


def test_a_group_is_frozen_through_all_of_its_cuts(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest, tmp_path: Path
) -> None:
    product.machine("edge", bare_guest)
    product.machine("db", libvirt_guest)
    with Gate(tmp_path, "edge-cut") as edge, Gate(tmp_path, "db-cut") as db:
        product.job("*", cut=["/bin/sh", "-c", f"exec {tmp_path}/$QUIESCE_MACHINE-cut"], group=True)
        running = product.start("run", "job", "--json")
        for gate in (edge, db):
            gate.wait_entered()
        assert bare_guest.frozen_mounts() == libvirt_guest.frozen_mounts() == ["/data", "/xfs"]
        edge.open()
        assert bare_guest.frozen_mounts() == libvirt_guest.frozen_mounts() == ["/data", "/xfs"]
        db.open()
        ended = running.wait()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", "filesystem")
    at = {(step["action"], step["machine"]): step["monotonic"] for step in ended.run["steps"] if step["duration_ms"]}
    for last, first in (("freeze", "cut"), ("cut", "thaw")):
        assert max(at[last, "edge"], at[last, "db"]) <= min(at[first, "edge"], at[first, "db"])


def test_a_group_is_all_or_nothing(product: Product, libvirt_guest: LibvirtGuest) -> None:
    before = libvirt_guest.active_disks()
    product.machine("db", libvirt_guest)
    product.table("machines.ghost", hypervisor="local", domain="no-such-domain")
    product.job("*", group=True)
    ended = product.run()
    assert (ended.code, ended.run["state"]) == (1, "failed")
    assert "given up with its group" in target(ended.run, "db")["error"]
    assert libvirt_guest.active_disks() == before
    assert {"freeze", "cut", "thaw"}.isdisjoint(action for action, _ in outcomes(ended.run, "db"))
