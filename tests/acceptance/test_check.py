"""`quiesce check` on a real guest: what it may stumble over, who froze it, and what to do where no agent answers."""

import pytest

from tests.acceptance.product import Product
from tests.lab import Guest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_hazards_problems_and_the_last_windows(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/true"])
    assert product.run().code == 0
    vm.mount_loop()
    vm.restart_agent("-F/nowhere/hook")
    ended = product("check", "vm", "--json")
    vm.umount_loop()
    [report] = ended.document
    assert (ended.code, report["os"], report["exec_allowed"], report["held_by"]) == (1, "Quiesce lab guest", True, None)
    assert any("/mnt/loop is on a loop device" in hazard for hazard in report["hazards"])
    assert [problem for problem in report["problems"] if "/nowhere/hook is not there" in problem] == report["problems"]
    assert report["last_windows_ms"] == [product.history()[0]["window_ms"]]

    vm.restart_agent("-b guest-exec")
    ended = product("check", "vm", "--nagios")
    assert (ended.code, ended.out.split(" | ")[0]) == (0, "QUIESCE OK - 1 of 1 machines ready")
    assert ended.out.split(" | ")[1].startswith("'vm window'=0.")
    vm.agent("guest-fsfreeze-freeze")
    ended = product("check", "--nagios")
    assert (ended.code, "vm: FROZEN, and not by an open run of this journal" in ended.out) == (2, True)


@pytest.mark.soak
def test_an_agent_that_is_absent_or_mute(product: Product, guest: Guest) -> None:
    guest.stop_agent()
    mute = product("check", "vm", "--json")
    guest.cont_agent()
    guest.kill_agent()
    absent = product("check", "vm", "--json")
    nagios = product("check", "vm", "--nagios")
    guest.start_agent()
    for ended in (mute, absent):
        assert (ended.code, ended.document[0]["ready"], ended.document[0]["power"]) == (1, False, "running")
        assert any("apt-get install qemu-guest-agent" in problem for problem in ended.document[0]["problems"])
    assert (nagios.code, nagios.out.count("\n")) == (2, 1)
