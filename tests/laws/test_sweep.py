"""`recover --all`: every machine is looked at, each freeze has a name, and nothing of another's is touched."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from orchestrator.clock import Stop, SystemClock, Task
from orchestrator.model import Machine, Power, Sight, Sighting, State
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.dying import die_before_the_window

STATUS, THAW = "guest-fsfreeze-status", "guest-fsfreeze-thaw"


class Powered:
    """A machine seen from outside, of which only its power is known."""

    local = True

    def __init__(self, power: Power) -> None:
        self._power = power

    def power(self, deadline: object) -> Power:
        return self._power

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.3)
    monkeypatch.setattr("orchestrator.sweep._ANSWER", 2.0)


def frozen(guest: FakeAgent) -> None:
    guest.frozen |= set(guest.mounts)
    guest.believes_frozen = True


def test_what_is_seen_has_a_name(world: World, tmp_path: Path) -> None:
    world.add_guest("well")
    foreign, mute = world.add_guest("foreign"), world.add_guest("mute")
    frozen(foreign)
    mute.stop_agent()
    off = world.add_guest("off")
    world.hypervisors["off"] = Powered(Power.OFF)  # type: ignore[assignment]
    world.add_guest("paused")
    world.hypervisors["paused"] = Powered(Power.PAUSED)  # type: ignore[assignment]
    world.machines["nowhere"] = Machine("nowhere", agent=str(tmp_path / "nowhere.sock"))
    runs, seen = world.service().sweep()

    assert runs == ()
    assert {each.machine: each.saw for each in seen} == {
        "well": Sight.THAWED,
        "foreign": Sight.FOREIGN,
        "mute": Sight.SILENT,
        "off": Sight.OFF,
        "paused": Sight.SILENT,
        "nowhere": Sight.SILENT,
    }
    assert [each.machine for each in seen] == list(world.machines)
    assert all((each.detail is not None) is (each.saw is Sight.SILENT) for each in seen)
    assert foreign.frozen
    assert set(foreign.calls) == {STATUS}
    assert off.calls == []


def test_a_dead_run_is_settled_first_and_a_stuck_one_named(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    frozen(guest)
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    runs, seen = world.service(thaw_timeout=0.3).sweep()
    assert [run.state for run in runs] == [State.STUCK]
    assert seen == (Sighting("vm", Sight.STUCK, dead.id, "guest-fsfreeze-thaw: GenericError: no"),)

    guest.faults[THAW].clear()
    runs, seen = world.service().sweep()
    assert ([run.state for run in runs], seen) == ([State.RECOVERED], (Sighting("vm", Sight.THAWED),))


def test_the_machine_of_a_living_run_is_not_asked(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = die_before_the_window(world, monkeypatch)
    world.gone.clear()
    frozen(guest)
    before = list(guest.calls)
    runs, seen = world.service().sweep()
    assert (runs, seen) == ((), (Sighting("vm", Sight.HELD, held.id, str(held.owner)),))
    assert guest.calls == before


@pytest.mark.parametrize("does", [frozen, FakeAgent.stop_agent], ids=["it freezes", "it has the agent's ear"])
def test_what_a_run_does_that_began_meanwhile_is_known(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, does: Callable[[FakeAgent], None]
) -> None:
    """The journal was read, then a run came to the guest, then its agent was asked."""
    held = die_before_the_window(world, monkeypatch)
    world.gone.clear()
    does(guest)
    real, reads = world.journal.open_runs, []

    def open_runs(**_: object) -> object:
        reads.append(1)
        return () if len(reads) <= 2 else real()  # of the recovery, and of the sweep

    monkeypatch.setattr(world.journal, "open_runs", open_runs)
    _, seen = world.service().sweep()
    assert [(each.saw, each.run) for each in seen] == [(Sight.HELD, held.id)]


def test_the_agent_of_the_second_way_is_asked_too(world: World, guest: FakeAgent) -> None:
    second = world.add_second_way("vm")
    frozen(second)
    _, seen = world.service().sweep()
    assert [each.saw for each in seen] == [Sight.FOREIGN]
    assert second.believes_frozen
    second.stop_agent()
    _, seen = world.service().sweep()
    assert [each.saw for each in seen] == [Sight.THAWED]


def test_agents_that_are_dead_hold_up_neither_a_run_nor_the_end(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look at them all would take them 24 seconds."""
    monkeypatch.setattr("orchestrator.sweep._AT_ONCE", 5)
    service, stop = world.service(), Stop()
    for number in range(60):
        world.add_guest(f"mute{number}").stop_agent()
    looking = Task(SystemClock(), "look", partial(service.look, stop))
    assert service.run("nightly").state is State.DONE
    stop.request()
    looking.join()
    seen = {each.machine: each.saw for each in looking.result()}
    assert len(seen) < 60
    assert {saw for machine, saw in seen.items() if machine.startswith("mute")} <= {Sight.SILENT}


def test_a_look_that_takes_long_sees_that_a_run_has_begun(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine before it does not answer for a while, and meanwhile the journal's answer has grown old."""
    monkeypatch.setattr("orchestrator.sweep._AT_ONCE", 1)
    monkeypatch.setattr("orchestrator.sweep._FRESH", 0.1)
    monkeypatch.setattr("orchestrator.sweep._ANSWER", 3.0)
    service = world.service(hold_limit=60)
    mute = world.add_guest("mute")
    world.machines["vm"] = world.machines.pop("vm")  # the last to be looked at
    held, reached = threading.Event(), threading.Event()
    mute.stop_agent()
    looking = Task(SystemClock(), "look", service.look)

    def cut() -> None:
        reached.set()
        held.wait(60)

    world.storages["vm"].before["cut"].append(cut)
    running = Task(SystemClock(), "run", partial(service.run, "nightly"))
    assert reached.wait(60)
    assert guest.frozen
    mute.cont_agent()
    looking.join()
    assert looking.result()[-1].saw is Sight.HELD
    held.set()
    running.join()
    assert running.result().state is State.DONE
