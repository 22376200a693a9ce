"""The driver `libvirt-quiesce` on a real domain: libvirt freezes, cuts and thaws, and we see to it that it did."""

import os
import signal

import pytest

from tests.acceptance.product import Product, outcomes, target
from tests.lab import LibvirtGuest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: A freeze hook of the guest that says that it is there, and waits.
SLOW_HOOK = '#!/bin/sh\n[ "$1" = thaw ] || { echo >/run/frozen-by-hook; sleep 3; }\n'


@pytest.fixture
def vm(product: Product, libvirt_guest: LibvirtGuest) -> LibvirtGuest:
    product.machine("vm", libvirt_guest)
    product.job("vm")
    product.table("jobs.job", machines=["vm"], driver="libvirt-quiesce", quiesce="preferred", hold_limit="10s")
    return libvirt_guest


def test_libvirt_holds_the_freeze(product: Product, vm: LibvirtGuest) -> None:
    before = vm.active_disks()
    vm.restart_agent(hook='#!/bin/sh\necho "$1" >>/run/hooks\n')
    vm.shell("rm -f /run/hooks")
    ended = product.run()
    run = ended.run
    assert (ended.code, run["state"], run["consistency"]) == (4, "done", "crash")
    assert "does not tell how many file systems it froze" in run["error"]
    assert outcomes(run)[2:] == [("freeze", "unknown"), ("cut", "done"), ("thaw", "done"), ("confirm", "done")]
    assert vm.shell("cat /run/hooks").split() == ["freeze", "thaw", "thaw"], "libvirt froze and thawed; so did we"
    assert [disk["path"] for disk in target(run)["snapshot"]["disks"]] == [str(path) for path in before]
    assert [disk["overlay"] for disk in target(run)["snapshot"]["disks"]] == [str(path) for path in vm.active_disks()]
    assert vm.frozen_mounts() == []


def test_proof_cannot_be_required_of_it(product: Product, vm: LibvirtGuest) -> None:
    product.table("jobs.job", machines=["vm"], driver="libvirt-quiesce")
    ended = product.run()
    assert (ended.code, product.history()) == (2, [])
    assert 'Set quiesce = "preferred"' in ended.err


@pytest.mark.soak
def test_killed_while_libvirt_freezes(product: Product, vm: LibvirtGuest) -> None:
    """Nobody is left but libvirt, which ends its call; a guest is watched for 36 s after the thaw of recovery."""
    vm.restart_agent(hook=SLOW_HOOK)
    vm.shell("rm -f /run/frozen-by-hook")
    running = product.start("run", "job")
    wait_for(lambda: vm.run("test -e /run/frozen-by-hook").status == 0, 30, "libvirt's freeze")
    for guard in running.guards():
        os.kill(guard, signal.SIGKILL)
    running.send(signal.SIGKILL)
    running.wait()
    recovered = product("recover", "--json", timeout=120)
    assert recovered.code == 0
    assert [run["state"] for run in recovered.document] == ["recovered"]
    assert recovered.document[0]["consistency"] in {"crash", "none"}
    assert vm.frozen_mounts() == []
