"""Machines that somebody else holds: refused with exit code 5, and left exactly as they are."""

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, outcomes, target
from tests.lab import PATIENCE, BareGuest, Guest, LibvirtGuest, libvirtd, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_a_second_run_is_turned_away(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut, hold_limit="60s")
    product.job("vm", name="second", cut=["/bin/true"])
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    second = product("run", "second", "--json")
    assert (second.code, second.run["state"], second.run["steps"]) == (5, "refused", [])
    assert product.history("--job", "job")[0]["id"] in second.run["error"]
    assert "REFUSED vm" in second.err
    for words in (["thaw", "vm"], ["thaw", "vm", "--force"]):
        by_hand = product(*words, "--json")
        assert (by_hand.code, by_hand.document["error"]["kind"]) == (5, "MachineBusy")
    assert vm.fs_frozen()
    gate.open()
    ended = running.wait()
    assert (ended.code, ended.run["consistency"]) == (0, "filesystem")


def test_what_others_froze_stays_frozen(product: Product, guest: Guest) -> None:
    product.job("vm", cut=["/bin/true"], quiesce="preferred")
    guest.agent("guest-fsfreeze-freeze")
    ended = product.run()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (5, "refused", "none")
    assert "already frozen" in ended.run["error"]
    assert "quiesce check vm" in ended.err
    by_hand = product("thaw", "vm")
    assert by_hand.code == 5
    assert "quiesce thaw MACHINE --force" in by_hand.err
    swept = product("recover", "--all", "--json")
    assert (swept.code, swept.document["runs"]) == (5, [])
    assert [(each["machine"], each["saw"]) for each in swept.document["machines"]] == [("vm", "foreign")]
    assert "FOREIGN vm" in swept.err
    assert guest.frozen_mounts() == ["/data", "/xfs"]

    forced = product("thaw", "vm", "--force", "--json")
    assert (forced.code, forced.run["trigger"], forced.run["state"]) == (0, "thaw", "done")
    assert outcomes(forced.run) == [("thaw", "done"), ("confirm", "done")]
    assert not guest.fs_frozen()
    assert product.states() == ["done", "refused"]
    swept = product("recover", "--all", "--json")
    assert (swept.code, swept.document["machines"][0]["saw"]) == (0, "thawed")


def test_a_paused_machine_is_refused_and_stays_paused(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest
) -> None:
    product.machine("edge", bare_guest)
    product.machine("db", libvirt_guest)
    product.job("*", cut=["/bin/true"])
    libvirtd.virsh("suspend", libvirt_guest.name)
    bare_guest.monitor("stop")
    try:
        ended = product.run()
        checked = product("check", "--json")
        assert libvirtd.virsh("domstate", libvirt_guest.name).strip() == "paused"
        assert bare_guest.monitor("query-status")["status"] == "paused"
    finally:
        libvirtd.virsh("resume", libvirt_guest.name)
        bare_guest.monitor("cont")
    assert (ended.code, ended.run["state"]) == (5, "refused")
    for machine in ("edge", "db"):
        assert target(ended.run, machine)["state"] == "refused"
        assert "the machine is paused" in target(ended.run, machine)["error"]
        assert f"REFUSED {machine}: the machine is paused" in ended.err
    assert checked.code == 1
    for report in checked.document:
        assert (report["ready"], report["power"]) == (False, "paused")
        assert report["problems"] == ["the machine is paused: its agent cannot answer. Resume it."]


def test_a_migrating_machine_is_refused(product: Product, vm: BareGuest) -> None:
    product.job("vm", cut=["/bin/true"], quiesce="off")
    vm.monitor("migrate-set-parameters", {"max-bandwidth": 100_000})
    vm.monitor("migrate", {"uri": "exec:cat >/dev/null"})
    try:
        ended = product.run()
    finally:
        vm.monitor("migrate_cancel")
        wait_for(lambda: vm.monitor("query-migrate")["status"] == "cancelled", PATIENCE, "the end of the migration")
    assert (ended.code, ended.run["state"]) == (5, "refused")
    assert "migrating" in ended.run["error"]
