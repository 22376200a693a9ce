"""A real guest with an agent behind libvirt and one behind a socket: whichever answers thaws it."""

import signal
import socket
from collections.abc import Iterator

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, Running, outcomes
from tests.lab import Guest, LibvirtGuest, Spec, wait_for
from tests.lab.base import AGENT_CHANNEL, HIDDEN_CHANNEL
from tests.lab.wires import ask_agent

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: Of the agent behind the socket, in the guest.
_PID = f"/run/qga/{HIDDEN_CHANNEL}/pid"


@pytest.fixture(scope="module")
def both_ways(lab: None) -> Iterator[LibvirtGuest]:
    """A guest with both ways, for this module."""
    with LibvirtGuest(Spec(channels=(AGENT_CHANNEL, HIDDEN_CHANNEL))) as guest:
        yield guest


@pytest.fixture
def window(both_ways: LibvirtGuest, product: Product, gate: Gate) -> Iterator[Running]:
    """A run that stands in its window; the guest was frozen by the socket."""
    product.table("machines.vm", hypervisor="local", domain=both_ways.name, agent=f"unix:{both_ways.agent_socket}")
    product.job("vm", cut=gate.cut, hold_limit="60s", thaw_timeout="15s")
    both_ways.start_writer()
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    assert both_ways.frozen_mounts() == ["/data", "/xfs"]
    yield running
    both_ways.stop_writer()
    both_ways.restart_agent()
    assert both_ways.agent_socket is not None
    ask_agent(both_ways.agent_socket, "guest-fsfreeze-thaw", None, 30)  # it came back in its frozen state


def wait_written(guest: Guest) -> None:
    """Wait until the guest's application has written once more."""
    before = guest.writer_flushed()
    wait_for(lambda: guest.writer_flushed() > before, 60, "the application to write again")


def test_an_agent_that_died_in_the_window_is_passed_by(
    window: Running, both_ways: LibvirtGuest, product: Product, gate: Gate
) -> None:
    both_ways.shell(f"kill -9 $(cat {_PID})")
    gate.open()
    ended = window.wait()

    assert not both_ways.fs_frozen()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", "filesystem")
    assert outcomes(ended.run)[-2:] == [("thaw", "done"), ("confirm", "done")]
    assert ended.run["steps"][-2]["figures"] == {"way": "libvirt", "thawed": 2}

    both_ways.restart_agent()  # Each comes back with the belief that it had.
    product.job("vm", cut=["/bin/true"])
    ended = product.run()
    assert (ended.code, ended.run["state"]) == (0, "done"), "the agent was not told that its guest is thawed"
    told = product("show", product.history()[1]["id"], "--json").run
    assert (told["trigger"], told["steps"][1]["figures"]) == ("thaw", {"way": "socket", "thawed": 0})


def test_the_guard_passes_by_a_socket_that_another_client_holds(
    window: Running, both_ways: LibvirtGuest, product: Product
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(both_ways.agent_socket))  # and is served when we have gone
        window.send(signal.SIGKILL)
        wait_written(both_ways)
        window.wait()
        (record,) = (product.folder / "guard").iterdir()
        wait_for(lambda: '"confirm"' in record.read_text(), 60, "the guard's record")
        (summary,) = product("recover", "--json").document
    run = product("show", summary["id"], "--json").run
    assert run["state"] == "recovered"
    thaws = [s["figures"] for s in run["steps"] if s["action"] == "thaw" and s["outcome"] == "done"]
    assert thaws == [{"by": "guard", "way": "libvirt", "thawed": 2}]
