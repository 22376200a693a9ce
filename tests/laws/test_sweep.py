"""`recover --all`: every machine is looked at, each freeze has a name, and nothing of another's is touched."""

from pathlib import Path

import pytest

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


def test_a_freeze_of_ours_that_began_meanwhile_is_not_foreign(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal was read, then a run froze the guest, then its agent was asked."""
    held = die_before_the_window(world, monkeypatch)
    world.gone.clear()
    frozen(guest)
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
