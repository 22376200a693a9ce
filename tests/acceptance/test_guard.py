"""The guard, on real guests: whatever becomes of the command in the window, the guest's application goes on."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, Running, outcomes
from tests.lab import PATIENCE, Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: What recovery finds in the history when the guard has thawed.
BY_GUARD = [
    *[("preflight", "done"), ("prepare", "done")],
    *[("freeze", "unknown"), ("cut", "unknown"), ("thaw", "unknown")],
    *[("thaw", "done"), ("confirm", "done"), ("verify", "failed")],
]


def freeze(product: Product, guest: Guest, gate: Gate, **keys: str) -> Running:
    """A run that stands in its window, with a guest on which an application wants to write."""
    guest.start_writer()
    product.job("vm", cut=gate.cut, **keys)
    running = product.start("run", "job")
    gate.wait_entered()
    assert guest.frozen_mounts() == ["/data", "/xfs"]
    return running


def wait_written(guest: Guest, seconds: float) -> None:
    """Wait until the guest's application has written once more."""
    before = guest.writer_flushed()
    wait_for(lambda: guest.writer_flushed() > before, seconds, "the application to write again")
    guest.stop_writer()


def recovered_by_guard(product: Product) -> None:
    """Recovery finds all settled but the journal."""
    (record,) = (product.folder / "guard").iterdir()
    wait_for(lambda: record.read_text(), PATIENCE, "the guard's record")
    (summary,) = product("recover", "--json").document
    run = product("show", summary["id"], "--json").run
    assert (run["state"], outcomes(run)) == ("recovered", BY_GUARD)
    thaw, confirm = (step["figures"] for step in run["steps"] if step["figures"].get("by") == "guard")
    assert thaw == {"by": "guard", "thawed": 2}
    assert confirm == {"by": "guard", "status": "thawed"}
    assert not record.exists()


def by_sigkill(running: Running) -> None:
    running.send(signal.SIGKILL)


def by_its_group(running: Running) -> None:
    os.killpg(running.pid, signal.SIGKILL)


@pytest.mark.parametrize("end", [by_sigkill, by_its_group])
def test_a_command_that_is_killed_in_its_window_leaves_a_thawed_guest(
    product: Product, guest: Guest, gate: Gate, end: Callable[[Running], None]
) -> None:
    running = freeze(product, guest, gate, hold_limit="60s")
    end(running)
    wait_written(guest, 10)
    assert running.wait().code == -signal.SIGKILL
    assert product.states() == ["running"]
    recovered_by_guard(product)


def test_a_command_that_hangs_in_its_window_is_ended_and_leaves_a_thawed_guest(
    product: Product, guest: Guest, gate: Gate
) -> None:
    running = freeze(product, guest, gate, hold_limit="2s")
    running.send(signal.SIGSTOP)
    wait_written(guest, 10)
    assert running.wait().code == -signal.SIGKILL
    recovered_by_guard(product)


def test_it_needs_no_journal(product: Product, vm: Guest, gate: Gate) -> None:
    running = freeze(product, vm, gate, hold_limit="60s")
    away = product.journal.rename(product.folder / "away.db")
    running.send(signal.SIGKILL)
    running.wait()
    wait_written(vm, 10)
    away.rename(product.journal)
    recovered_by_guard(product)


def test_it_outlives_a_service_that_is_stopped_and_ends_with_it(product: Product, vm: Guest, gate: Gate) -> None:
    """`systemctl stop`: SIGTERM to every process; the guard ignores it, and the command thaws by itself."""
    running = freeze(product, vm, gate, hold_limit="60s")
    (guard,) = running.guards()
    os.kill(guard, signal.SIGTERM)
    running.send(signal.SIGTERM)
    wait_written(vm, 10)
    assert Path(f"/proc/{guard}").exists()
    gate.open()
    assert running.wait().code == 1
    assert list((product.folder / "guard").iterdir()) == []
    wait_for(lambda: not Path(f"/proc/{guard}").exists(), PATIENCE, "the guard's end")


def test_a_guest_that_was_stuck_is_thawed_after_the_command_has_ended(product: Product, vm: Guest, gate: Gate) -> None:
    running = freeze(product, vm, gate, hold_limit="60s", thaw_timeout="1s")
    vm.stop_agent()
    gate.open()
    ended = running.wait()
    assert (ended.code, product.states()) == (3, ["stuck"])
    vm.cont_agent()
    wait_written(vm, 60)
    (summary,) = product("recover", "--json").document
    assert summary["state"] == "recovered"


def test_where_it_cannot_be_no_guest_is_frozen(product: Product, vm: Guest) -> None:
    (product.folder / "guard").write_text("in the way")
    product.job("vm", cut=["/bin/true"])
    ended = product.run()
    assert (ended.code, ended.run["state"]) == (1, "failed")
    assert f"the guard's records cannot be kept in {product.folder}/guard" in ended.run["error"]
    assert "The guest was never frozen" in ended.err
    assert ("freeze", "failed") in outcomes(ended.run)


def test_who_only_looks_has_none(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/true"])
    for words in (["history"], ["check"], ["recover"], ["jobs"]):
        assert product(*words).code == 0
    assert not (product.folder / "guard").exists()
