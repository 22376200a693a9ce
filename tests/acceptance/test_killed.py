"""Whatever ends the orchestrator, and its guard: recovery thaws, removes what was prepared, and says what happened."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, outcomes, target
from tests.lab import PATIENCE, BareGuest, Guest, LibvirtGuest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


@pytest.fixture
def prepared(product: Product, tmp_path: Path) -> "Gate":
    """Where a run stands when it has made an overlay, before the freeze: in `qemu-img`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    product.environment["PATH"] = f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"
    return Gate(folder, "qemu-img", before=f'{shutil.which("qemu-img")} "$@" && test "$1" = create || exit')


def kill_in_the_window(product: Product, gate: Gate, *guests: Guest) -> None:
    """Run the job, and kill it and its guard by SIGKILL while its guests are frozen."""
    running = product.start("run", "job")
    for _ in guests:
        gate.wait_entered()
    assert all(guest.frozen_mounts() == ["/data", "/xfs"] for guest in guests)
    for guard in running.guards():
        os.kill(guard, signal.SIGKILL)
    running.send(signal.SIGKILL)
    assert running.wait().code == -signal.SIGKILL
    assert all(guest.fs_frozen() for guest in guests), "nothing but recovery could have thawed them"


def test_killed_in_the_window_and_recovered(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest, gate: Gate
) -> None:
    """Over libvirt, which may hold a freeze up for long, a guest is watched for 36 s after its thaw."""
    product.machine("edge", bare_guest)
    product.machine("db", libvirt_guest)
    product.job("edge", "db", cut=gate.cut)
    kill_in_the_window(product, gate, bare_guest, libvirt_guest)
    assert product.states() == ["running"]

    recovery = product.start("recover", "--json")
    wait_for(lambda: not (bare_guest.fs_frozen() or libvirt_guest.fs_frozen()), PATIENCE, "the thaw of both")
    recovered = recovery.wait()
    (summary,) = recovered.document
    assert (recovered.code, summary["state"], summary["consistency"]) == (0, "recovered", "none")
    assert "its process died" in summary["error"]
    run = product("show", summary["id"], "--json").run
    for machine in ("edge", "db"):
        *settled, (last, _) = outcomes(run, machine)
        assert settled == [
            *[("preflight", "done"), ("prepare", "done")],
            *[("freeze", "unknown"), ("cut", "unknown"), ("thaw", "unknown")],
            *[("thaw", "done"), ("confirm", "done"), ("confirm", "done")],
        ]
        assert last == "verify"
    assert [step["figures"] for step in run["steps"] if (step["action"], step["outcome"]) == ("thaw", "done")] == [
        *[{"thawed": 2}] * 2
    ]

    again = product("recover", "--json")
    assert (again.code, again.document) == (0, [])
    assert product("show", run["id"], "--json").run == run


def test_the_next_run_recovers_first(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    kill_in_the_window(product, gate, vm)
    product.job("vm", cut=["/bin/true"])
    ended = product.run()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", "filesystem")
    assert product.states() == ["done", "recovered"]
    assert not vm.fs_frozen()


def test_thaw_by_hand_settles_the_run_of_a_dead_process(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    kill_in_the_window(product, gate, vm)
    ended = product("thaw", "vm", "--json")
    assert (ended.code, ended.run["job"], ended.run["state"]) == (0, "job", "recovered")
    assert not vm.fs_frozen()
    assert product.states() == ["recovered"]


def test_a_cut_that_nobody_had_noted_is_found_by_its_name(product: Product, vm: Guest) -> None:
    """The thaw is never answered: a hook of the guest stands still after it."""
    vm.restart_agent(hook="#!/bin/sh\n[ $1 = freeze ] || read -r _ </run/lab/held\n")
    vm.shell("rm -f /run/lab/held; mkfifo /run/lab/held")
    product.job("vm")
    before = vm.active_disks()
    running = product.start("run", "job")
    wait_for(lambda: vm.active_disks() != before, 30, "the cut")
    running.send(signal.SIGKILL)
    running.wait()
    vm.shell("while killall -0 fsfreeze-hook; do echo >/run/lab/held; done; exit 0")
    vm.restart_agent()

    (summary,) = product("recover", "--json").document
    assert (summary["state"], summary["consistency"]) == ("recovered", "crash")
    overlays = [disk["overlay"] for disk in target(summary)["snapshot"]["disks"]]
    assert overlays == [str(path) for path in vm.active_disks()]


def test_recovery_that_is_killed_is_run_again(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    kill_in_the_window(product, gate, vm)
    vm.stop_agent()
    recovery = product.start("recover")
    recovery.wait_said("action=freeze outcome=unknown")
    recovery.send(signal.SIGKILL)
    recovery.wait()
    vm.cont_agent()
    ended = product("recover", "--json")
    assert (ended.code, [run["state"] for run in ended.document]) == (0, ["recovered"])
    assert not vm.fs_frozen()


def test_killed_before_the_freeze_leaves_nothing(product: Product, guest: Guest, prepared: Gate) -> None:
    product.job("vm")
    before = guest.active_disks()
    with prepared as gate:
        running = product.start("run", "job")
        gate.wait_entered()
        overlays = list(before[0].parent.glob(f"*.quiesce-{product.history()[0]['id']}.qcow2"))
        assert overlays
        running.send(signal.SIGKILL)
        running.wait()
    assert not guest.fs_frozen()

    ended = product("recover", "--json")
    (summary,) = ended.document
    assert (ended.code, summary["state"], summary["consistency"]) == (0, "recovered", "none")
    assert not any(overlay.exists() for overlay in overlays)
    assert guest.active_disks() == before
    run = product("show", summary["id"], "--json").run
    assert outcomes(run) == [("preflight", "done"), ("prepare", "unknown"), ("discard", "done")]


def test_overlays_that_qemu_had_opened_are_closed(product: Product, vm: BareGuest, prepared: Gate) -> None:
    product.job("vm")
    before, ours = vm.active_disks(), our_nodes(vm)
    with prepared as gate:
        running = product.start("run", "job")
        for _ in before:
            gate.wait_entered()
            vm.stop_agent()  # the last question before the freeze goes unanswered
            gate.open()
        wait_for(lambda: len(our_nodes(vm) - ours) == len(before), PATIENCE, "the overlays to be opened")
        running.send(signal.SIGKILL)
        running.wait()
    vm.cont_agent()
    assert product("recover").code == 0
    assert our_nodes(vm) == ours
    assert vm.active_disks() == before
    assert list(before[0].parent.glob(f"*.quiesce-{product.history()[0]['id']}.qcow2")) == []
    assert not vm.fs_frozen()


def our_nodes(guest: BareGuest) -> set[str]:
    """The names of the nodes that carry our name: layers of the disks, and overlays that are only open yet."""
    names = {node["node-name"] for node in guest.monitor("query-named-block-nodes", {"flat": True})}
    return {name for name in names if name.startswith("quiesce-")}


def test_a_living_run_is_left_to_its_owner(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    recovered = product("recover", "--json")
    assert (recovered.code, recovered.document) == (0, [])
    assert vm.fs_frozen()
    gate.open()
    ended = running.wait()
    assert (ended.code, target(ended.run)["state"]) == (0, "done")
