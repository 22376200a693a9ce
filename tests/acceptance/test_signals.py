"""A wish to stop thaws first and ends then: state `cancelled`, exit code 1."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, outcomes
from tests.lab import PATIENCE, Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_a_signal_in_the_window_thaws_at_once(product: Product, guest: Guest, gate: Gate) -> None:
    stop_in_the_window(product, guest, gate, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_do_the_same(product: Product, vm: Guest, gate: Gate, number: signal.Signals) -> None:
    stop_in_the_window(product, vm, gate, number)


def stop_in_the_window(product: Product, guest: Guest, gate: Gate, number: signal.Signals) -> None:
    product.job("vm", cut=gate.cut, hold_limit="120s")
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    assert guest.fs_frozen()
    running.send(number)
    wait_for(lambda: not guest.fs_frozen(), PATIENCE, "the thaw, long before the hold limit")
    assert running.alive, "the cut still stands in the gate"
    gate.open()
    ended = running.wait()
    assert (ended.code, ended.run["state"]) == (1, "cancelled")
    order = [action for action, outcome in outcomes(ended.run) if outcome == "done" and action in {"thaw", "cut"}]
    assert order == ["thaw", "cut"]
    assert ended.run["consistency"] == "crash"
    assert "The guest is thawed" in ended.err
    assert product.states() == ["cancelled"]


def test_an_impatient_user_is_told_and_does_not_break_the_thaw(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    running = product.start("run", "job")
    gate.wait_entered()
    vm.stop_agent()
    running.send(signal.SIGINT)
    running.wait_said("stopping; a guest that is frozen is thawed first")
    running.send(signal.SIGINT)
    running.wait_said("still at it; a guest must not stay frozen")
    gate.open()
    vm.cont_agent()
    ended = running.wait()
    assert (ended.code, product.states()) == (1, ["cancelled"])
    assert not vm.fs_frozen()


def test_a_signal_before_the_freeze_leaves_the_guest_untouched(product: Product, guest: Guest, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    product.environment["PATH"] = f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"
    product.job("vm")
    before = guest.active_disks()
    with Gate(folder, "qemu-img", before=f'{shutil.which("qemu-img")} "$@" && test "$1" = create || exit') as gate:
        running = product.start("run", "job", "--json")
        gate.wait_entered()
        running.send(signal.SIGTERM)
        gate.open()
        gate.open()
        ended = running.wait()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (1, "cancelled", "none")
    assert {"freeze", "cut", "thaw"}.isdisjoint(action for action, _ in outcomes(ended.run))
    assert outcomes(ended.run)[-1] == ("discard", "done")
    assert "The guest was never frozen" in ended.err
    assert guest.active_disks() == before
    assert list(before[0].parent.glob(f"*.quiesce-{ended.run['id']}.qcow2")) == []
