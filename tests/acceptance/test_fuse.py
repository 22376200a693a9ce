"""`fuse`, on real guests: lit and put out by the command, and it burns when nobody is left on the host."""

import os
import signal

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, outcomes
from tests.lab import Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: The shortest that is allowed with these limits.
LIMITS = {"freeze_timeout": "2s", "hold_limit": "2s", "fuse": "19s"}


def processes(guest: Guest) -> str:
    """The fuse's processes in the guest."""
    return guest.shell("grep -l [q]uiesce-fuse /proc/[0-9]*/cmdline 2>/dev/null; pidof sleep; :")


def test_a_run_puts_it_out_and_leaves_no_process_behind(product: Product, guest: Guest) -> None:
    product.job("vm", cut=["/bin/true"], fuse="50s")
    ended = product.run()
    assert (ended.code, ended.run["consistency"]) == (0, "filesystem")
    lit, out = (step["figures"] for step in ended.run["steps"] if (step["action"], step["outcome"]) == ("fuse", "done"))
    assert (lit, out) == ({"lit": True}, {"lit": False, "found": True})
    assert processes(guest) == ""


def test_a_guest_whose_agent_forbids_it_is_not_frozen(product: Product, vm: Guest) -> None:
    vm.restart_agent("-b guest-exec")
    product.job("vm", cut=["/bin/true"], fuse="50s")
    ended = product.run()
    assert (ended.code, ended.run["state"]) == (1, "failed")
    assert "the fuse cannot be lit: guest-exec: Command guest-exec has been disabled" in ended.run["error"]
    assert "The guest was never frozen" in ended.err
    product.job("vm", cut=["/bin/true"], fuse="50s", quiesce="preferred")
    ended = product.run()
    assert (ended.code, ended.run["consistency"]) == (0, "filesystem")
    assert ("fuse", "failed") in outcomes(ended.run)


@pytest.mark.soak
def test_with_command_and_guard_killed_the_guest_thaws_itself(product: Product, vm: Guest, gate: Gate) -> None:
    vm.start_writer()
    product.job("vm", cut=gate.cut, **LIMITS)
    running = product.start("run", "job")
    gate.wait_entered()
    (guard,) = running.guards()
    os.kill(guard, signal.SIGKILL)
    running.send(signal.SIGKILL)
    running.wait()
    assert vm.frozen_mounts() == ["/data", "/xfs"]
    stalled = vm.writer_flushed()
    wait_for(lambda: vm.writer_flushed() > stalled + 1, 60, "the application to write again")
    vm.stop_writer()
    assert product.states() == ["running"]

    (summary,) = product("recover", "--json").document
    run = product("show", summary["id"], "--json").run
    assert (run["state"], run["consistency"]) == ("recovered", "none")
    figures = {step["action"]: step["figures"] for step in run["steps"]}
    assert figures["thaw"] == {"thawed": 0}
    assert figures["fuse"] == {"lit": False, "found": False}
    assert processes(vm) == ""
