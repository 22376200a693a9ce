"""What goes wrong with the agent or with the cut: the guest is thawed, and nothing is called good that is not."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, outcomes
from tests.fakes.relay import Relay
from tests.lab import PATIENCE, BareGuest, Guest, LibvirtGuest, libvirtd, wait_for
from tests.lab.sharing import FreshBareGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_a_cut_that_hangs_is_killed_with_its_children(product: Product, guest: Guest, tmp_path: Path) -> None:
    """How long the guest was frozen is told by an application in it."""
    pids = tmp_path / "pids"
    script = f"for _ in 1 2; do sh -c 'sleep 600 & echo $! >>{pids}; wait' & done; echo $$ >>{pids}; echo hangs; wait"
    product.job("vm", cut=["/bin/sh", "-c", script], hold_limit="1s")
    guest.start_stallmeter(threshold_ms=500)
    begun = time.monotonic()
    ended = product.run()
    assert time.monotonic() - begun < 60
    assert (ended.code, ended.run["state"]) == (1, "failed")
    assert "was killed; it said: hangs" in ended.run["error"]
    assert [*map(int, pids.read_text().split())] != []
    assert [pid for pid in map(int, pids.read_text().split()) if running(pid)] == []
    longest = max(stall.ms for stall in wait_for(guest.stalls, PATIENCE, "the stall to be noted"))
    assert 900 < longest < 30_000
    assert not guest.fs_frozen()


def running(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of it for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_cut_that_fails(product: Product, guest: Guest) -> None:
    product.job("vm", cut=["/bin/sh", "-c", "echo the array is on fire >&2; exit 3"])
    ended = product.run()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (1, "failed", "none")
    assert "ended with status 3; it said: the array is on fire" in ended.run["error"]
    assert "FAILED vm" in ended.err
    assert "The guest is thawed. Next:" in ended.err
    assert not guest.fs_frozen()


@pytest.mark.parametrize(("quiesce", "code", "state"), [("required", 1, "failed"), ("preferred", 4, "done")])
def test_a_guest_thawed_by_another_hand_is_noticed_by_the_count(
    product: Product, vm: Guest, gate: Gate, quiesce: str, code: int, state: str
) -> None:
    product.job("vm", cut=gate.cut, quiesce=quiesce)
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    vm.thaw_by_hand("/data")
    gate.open()
    ended = running.wait()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (code, state, "crash")
    assert "2 file systems were frozen, but the thaw found only 1 still frozen" in ended.run["error"]
    assert "2 file systems were frozen" in ended.err
    assert not vm.fs_frozen()


def test_an_agent_that_dies_and_comes_back_frozen_is_thawed(product: Product, guest: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    guest.kill_agent()
    gate.open()
    guest.start_agent()
    ended = running.wait()
    assert not guest.fs_frozen()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", "filesystem")


def test_an_agent_that_stays_away_leaves_a_stuck_guest(product: Product, vm: BareGuest, gate: Gate) -> None:
    """Loud, first in every list, in nobody else's hands, and over only when a thaw is confirmed."""
    product.job("vm", cut=gate.cut, thaw_timeout="1s")
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    vm.kill_agent()
    gate.open()
    ended = running.wait()
    assert (ended.code, ended.run["state"]) == (3, "stuck")
    assert "STUCK vm" in ended.err
    assert "MAY STILL BE FROZEN" in ended.err
    assert vm.fs_frozen()
    assert "STUCK vm" in product("history").err
    assert "STUCK vm" in product("show", ended.run["id"]).err

    refused = product.run()
    assert (refused.code, refused.run["state"]) == (5, "refused")
    assert ended.run["id"] in refused.run["error"]
    assert product.states() == ["stuck", "refused"], "stuck ones first, though the other is newer"

    vm.start_agent()
    recovered = product("recover", "--json")
    assert (recovered.code, [run["state"] for run in recovered.document]) == (0, ["recovered"])
    assert not vm.fs_frozen()
    assert product.states() == ["refused", "recovered"]


def test_a_machine_that_dies_in_the_window_is_not_called_good(
    product: Product, fresh_bare_guest: FreshBareGuest, gate: Gate
) -> None:
    guest = fresh_bare_guest()
    product.machine("vm", guest)
    product.job("vm", cut=gate.cut, thaw_timeout="1s")
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    os.kill(guest.pid, signal.SIGKILL)
    gate.open()
    ended = running.wait()
    assert ended.code in {1, 3}
    assert (ended.run["state"], ended.run["consistency"]) in {("stuck", "crash"), ("failed", "crash")}
    assert ("thaw", "done") not in outcomes(ended.run)
    assert re.search("the machine may not run|is off", ended.err)


def test_libvirt_is_away_in_the_window(
    product: Product, libvirt_guest: LibvirtGuest, gate: Gate, tmp_path: Path
) -> None:
    """As seen while libvirtd is restarted: every connection breaks, and for a while none can be made."""
    path, away = tmp_path / "libvirt", tmp_path / "away"
    product.machine("vm", libvirt_guest)
    product.table("hypervisors.local", uri=f"qemu+unix:///system?socket={path}")
    product.job("vm", cut=gate.cut, thaw_timeout="60s")
    with Relay(path, libvirtd.SOCKET) as relay:
        running = product.start("run", "job")
        gate.wait_entered()
        path.rename(away)
        relay.sever()
        gate.open()
        running.wait_said("action=thaw outcome=failed")
        assert libvirt_guest.fs_frozen()
        away.rename(path)
        ended = running.wait(100)
    assert ended.code == 0, ended
    assert not libvirt_guest.fs_frozen()
    assert [(run["state"], run["consistency"]) for run in product.history()] == [("done", "filesystem")]


@pytest.mark.soak
def test_a_guest_that_is_gone_is_let_go_on_an_operators_word(product: Product, vm: BareGuest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut, thaw_timeout="1s")
    running = product.start("run", "job")
    gate.wait_entered()
    vm.kill_agent()
    gate.open()
    assert running.wait().code == 3
    swept = product("recover", "--all", "--json")
    assert (swept.code, swept.document["machines"][0]["saw"]) == (3, "stuck")

    closed = product("thaw", "vm", "--force", "--reason", "it was reset", "--json")
    assert (closed.code, closed.run["state"]) == (0, "recovered")
    assert closed.run["error"].startswith("an operator's word, not a confirmed thaw: it was reset")
    assert {"by": "operator", "reason": "it was reset"} in [step["figures"] for step in closed.run["steps"]]
    assert "not proven" in closed.err
    assert vm.fs_frozen(), "nobody claims that it is thawed"
    assert product.states() == ["recovered"]


def test_an_agent_that_is_mute_in_the_window_and_then_speaks(product: Product, guest: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    running = product.start("run", "job", "--json")
    gate.wait_entered()
    guest.stop_agent()
    gate.open()
    guest.cont_agent()
    ended = running.wait()
    assert (ended.code, ended.run["state"]) == (0, "done")
    assert not guest.fs_frozen()


def test_a_freeze_that_is_not_answered_in_time_is_thawed(product: Product, vm: BareGuest) -> None:
    """Its hook takes too long, so that the freeze lands after we gave up waiting for it."""
    vm.shell("rm -f /run/lab/held; mkfifo /run/lab/held")
    vm.restart_agent(hook="#!/bin/sh\n[ $1 = thaw ] || read -r _ </run/lab/held\n")
    product.job("vm", cut=["/bin/true"], freeze_timeout="1s")
    running = product.start("run", "job")
    running.wait_said("action=freeze outcome=unknown")
    vm.shell("echo >/run/lab/held")
    assert running.wait().code == 1
    (summary,) = product.history()
    assert (summary["state"], summary["consistency"]) == ("failed", "none")
    run = product("show", summary["id"], "--json").run
    assert [outcome for action, outcome in outcomes(run) if action in {"freeze", "cut"}] == ["unknown", "failed"]
    assert [step["figures"]["thawed"] for step in run["steps"] if step["action"] == "thaw" and step["figures"]] == [2]
    assert not vm.fs_frozen()


def test_what_a_job_wants_decides_what_an_agent_means_that_does_not_answer(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest
) -> None:
    """One is absent, the other one mute. Both runs wait for theirs at the same time."""
    product.machine("absent", libvirt_guest)
    product.machine("mute", bare_guest)
    product.job("absent", name="hard", cut=["/bin/true"])
    product.job("mute", name="soft", cut=["/bin/true"], quiesce="preferred")
    libvirt_guest.kill_agent()
    bare_guest.stop_agent()
    required, preferred = (product.start("run", name, "--json") for name in ("hard", "soft"))

    failed = required.wait()
    assert (failed.code, failed.run["state"], failed.run["consistency"]) == (1, "failed", "none")
    assert outcomes(failed.run, "absent") == [("preflight", "failed")]
    assert re.search("^FAILED absent: .*not connected.*The guest was never frozen", failed.err)
    done = preferred.wait()
    assert (done.code, done.run["state"], done.run["consistency"]) == (4, "done", "crash")
    assert re.search("^DONE mute: .*no answer in time", done.err)

    product.job("mute", cut=["/bin/true"], quiesce="off")
    off = product.run()
    assert (off.code, off.run["state"], off.run["consistency"], off.err) == (0, "done", "crash", "")
    for run, machine in ((done.run, "mute"), (off.run, "mute")):
        assert {"freeze", "thaw"}.isdisjoint(action for action, _ in outcomes(run, machine))
    bare_guest.cont_agent()
    assert not (bare_guest.fs_frozen() or libvirt_guest.fs_frozen())
