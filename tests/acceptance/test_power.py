"""`quiesce power` on real guests of both forms: by the agent, by the power button, and what the machine itself says."""

import pytest

from tests.acceptance.product import Document, Ended, Product
from tests.lab import Disk, Guest, LibvirtGuest, Spec, wait_for
from tests.lab.libvirtd import virsh
from tests.lab.sharing import FreshBareGuest, FreshLibvirtGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: What qemu-ga calls, as every distribution has it.
SHUTDOWN = """#!/bin/sh
for word; do case $word in -P | -p | -H) act=poweroff ;; -r) act=reboot ;; esac; done
sync; exec busybox ${act:-poweroff} -f
"""
#: A guest that listens to its power button.
LISTEN = """
while read -r module; do insmod $module; done </lab/modules.power
mkdir -p /etc/acpi/PWRF && printf '#!/bin/sh\\nexec busybox poweroff -f\\n' >/etc/acpi/PWRF/00000080
chmod 755 /etc/acpi/PWRF/00000080 && busybox acpid -l /run/acpid.log && ls /dev/input/event*
"""


@pytest.fixture(params=["fresh_bare_guest", "fresh_libvirt_guest"])
def own(request: pytest.FixtureRequest, product: Product) -> Guest:
    """A guest of each form that may be shut down."""
    make: FreshBareGuest | FreshLibvirtGuest = request.getfixturevalue(request.param)
    guest = make()
    guest.write_file("/sbin/shutdown", SHUTDOWN)
    product.machine("vm", guest)
    return guest


def power(product: Product, *words: str) -> Ended:
    return product("power", *words, "--json", timeout=180)


def last(ended: Ended) -> Document:
    found: Document = ended.run["steps"][-1]
    return found


@pytest.mark.soak
def test_suspended_and_woken(product: Product, own: Guest) -> None:
    suspended = power(product, "suspend", "vm")
    assert (suspended.code, last(suspended)["action"], last(suspended)["outcome"]) == (0, "power", "done")
    assert last(suspended)["figures"]["seen"].lower() in {"pmsuspend", "suspend"}
    assert own.monitor("query-status")["status"] == "suspended"
    woken = power(product, "wakeup", "vm")
    assert (woken.code, last(woken)["figures"]["seen"].lower() in {"pmwakeup", "wakeup"}) == (0, True)
    assert own.monitor("query-status")["status"] == "running"


@pytest.mark.soak
@pytest.mark.parametrize("form", ["fresh_bare_guest", "fresh_libvirt_guest"])
def test_suspended_to_disk(request: pytest.FixtureRequest, product: Product, form: str) -> None:
    """A guest that has swap for all of its memory. Its machine is off afterwards."""
    guest = request.getfixturevalue(form)(Spec(disks=(Disk(), Disk(size_mb=512, mount="-"))))
    product.machine("vm", guest)
    guest.shell("mkswap /dev/vdb && swapon /dev/vdb")
    ended = power(product, "suspend", "vm", "--target", "disk", "--wait", "120s")
    assert (ended.code, ended.run["state"]) == (0, "done"), ended.err
    assert last(ended)["figures"]["seen"].lower() in {"pmsuspend-disk", "suspend_disk"}


def test_what_a_guest_cannot_do_is_said_by_its_agent(product: Product, guest: Guest) -> None:
    """It has none of the programs that know the hybrid."""
    ended = power(product, "suspend", "vm", "--target", "hybrid")
    assert (ended.code, ended.run["state"], last(ended)["outcome"]) == (1, "failed", "failed")
    assert "guest-suspend-hybrid" in ended.err
    assert "suspend mode is not supported by the guest" in ended.err
    assert guest.monitor("query-status")["status"] == "running"


def test_shut_down_by_the_power_button_unless_it_is_frozen(product: Product, own: Guest) -> None:
    own.agent("guest-fsfreeze-freeze")
    refused = power(product, "shutdown", "vm", "--mode", "acpi")
    assert (refused.code, refused.run["state"]) == (5, "refused")
    own.agent("guest-fsfreeze-thaw")

    own.shell(LISTEN, timeout=60)
    ended = power(product, "shutdown", "vm", "--mode", "acpi")
    assert (ended.code, ended.run["state"]) == (0, "done"), own.console()[-500:]
    assert last(ended)["figures"]["seen"].lower() in {"stopped", "shutdown"}
    if isinstance(own, LibvirtGuest):
        assert virsh("domstate", own.name).strip() == "shut off"


@pytest.mark.soak
def test_rebooted_and_shut_down_by_the_agent(product: Product, own: Guest) -> None:
    rebooted = power(product, "reboot", "vm", "--mode", "agent")
    assert (rebooted.code, last(rebooted)["figures"]["seen"].lower()) == (
        0,
        {True: "reboot", False: "reset"}[isinstance(own, LibvirtGuest)],
    )
    wait_for(lambda: own.open_channels() == 1, 90, "the agent of the guest that was rebooted")
    own.write_file("/sbin/shutdown", SHUTDOWN)
    ended = power(product, "shutdown", "vm", "--mode", "agent")
    assert (ended.code, ended.run["state"]) == (0, "done")


@pytest.mark.soak
def test_an_agent_that_is_mute_or_absent_shuts_nothing_down(product: Product, guest: Guest) -> None:
    guest.stop_agent()
    mute = power(product, "shutdown", "vm", "--mode", "agent", "--wait", "5s")
    guest.cont_agent()
    guest.kill_agent()
    absent = power(product, "suspend", "vm", "--wait", "5s")
    unheard = power(product, "shutdown", "vm", "--mode", "acpi", "--wait", "2s")
    guest.start_agent()
    for ended in (mute, absent, unheard):
        assert (ended.code, ended.run["state"]) == (1, "failed")
    assert "agent" in mute.err
    assert "agent" in absent.err
    assert "no event of the machine has shown the shutdown: it may still come" in unheard.err
    assert guest.run("true").status == 0
