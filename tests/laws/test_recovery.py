"""Recovery enters by the normal door, tells the truth, and may itself be killed anywhere."""

import time
from dataclasses import replace

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import ConfigError, FrozenByOther, MachineBusy, OutcomeUnknown, Rejected
from orchestrator.evidence import dangling
from orchestrator.model import Action, Consistency, Outcome, State, Trigger
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.dying import Killed, die_before_the_window, killed

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


def fails(error: Exception) -> None:
    raise error


def test_a_run_that_died_before_its_intents_left_the_guest_alone(world: World, guest: FakeAgent) -> None:
    world.storages["vm"].after["prepare"].append(killed)
    with pytest.raises(Killed):
        world.service().run("nightly")
    world.die()

    (run,) = world.service().recover()
    assert (run.state, run.consistency, exit_code(run)) == (State.RECOVERED, Consistency.NONE, 1)
    assert guest.calls.count(THAW) == 0
    assert world.storages["vm"].prepared == set()
    assert world.storages["vm"].calls == ["plan", "prepare", "discard"]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_a_run_that_died_in_the_window_is_thawed_and_its_cut_found_by_name(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, frozen: bool, cut: bool
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    storage = world.storages["vm"]
    if frozen:
        guest.frozen, guest.believes_frozen = {"/", "/data"}, True
    if cut:
        storage.snapshots.add(dead.snapshot_name)
        storage.prepared.clear()

    (run,) = world.service().recover()
    assert guest.frozen == set()
    assert storage.prepared == set()
    assert (run.state, run.owner) == (State.RECOVERED, world.owner)
    assert run.consistency is (Consistency.CRASH if cut else Consistency.NONE)
    assert (run.targets[0].snapshot is not None) is cut
    lost = [s.action for s in run.steps if s.outcome is Outcome.UNKNOWN and s.error == "its process died"]
    assert lost == [Action.FREEZE, Action.CUT, Action.THAW]
    assert world.service().recover() == ()
    assert world.service().run("nightly").state is State.DONE


def test_recovery_waits_out_a_freeze_that_lands_after_its_thaw(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_before_the_window(world, monkeypatch)
    guest.faults["guest-fsfreeze-status"].extend([faults.Fault(), faults.answer("frozen")])

    (run,) = world.service().recover()
    assert guest.calls.count(THAW) == 2
    assert run.state is State.RECOVERED


def test_a_recovery_that_is_killed_is_run_again(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/", "/data"}, True
    world.storages["vm"].before["happened"].append(killed)
    with pytest.raises(Killed):
        world.service().recover()
    assert not guest.frozen
    world.die()
    world.storages["vm"].before["discard"].append(killed)
    with pytest.raises(Killed):
        world.service().recover()
    world.die()

    (run,) = world.service().recover()
    assert (run.id, run.state) == (dead.id, State.RECOVERED)
    assert world.storages["vm"].prepared == set()


def test_the_runs_of_the_living_are_left_alone(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    die_before_the_window(world, monkeypatch)
    world.gone.clear()

    assert world.service().recover() == ()
    assert guest.calls.count(THAW) == 0


def test_a_guest_that_recovery_cannot_thaw_is_stuck_until_it_can(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.5)
    die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/"}, True
    guest.faults[THAW].extend([faults.error("no")] * 1000)

    (run,) = world.service(thaw_timeout=0.5).recover()
    assert (run.state, exit_code(run)) == (State.STUCK, 3)
    (run,) = world.service().recover()
    assert run.state is State.STUCK
    guest.faults[THAW].clear()
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
    assert not guest.frozen


def test_a_run_settles_the_dead_ones_first(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/", "/data"}, True

    assert world.service().run("nightly").state is State.DONE
    assert world.journal.run(dead.id).state is State.RECOVERED


def test_a_thaw_by_hand_is_refused_for_a_foreign_freeze_and_forced(world: World, guest: FakeAgent) -> None:
    guest.frozen, guest.believes_frozen = {"/"}, True
    with pytest.raises(FrozenByOther):
        world.service().thaw("vm")
    assert guest.frozen == {"/"}

    run = world.service().thaw("vm", force=True)
    assert guest.frozen == set()
    assert (run.state, run.trigger, run.job, exit_code(run)) == (State.DONE, Trigger.THAW, None, 0)
    assert world.service().show(run.id) == run


def test_a_thaw_by_hand_settles_the_run_of_a_dead_process_and_respects_a_living_one(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/"}, True
    gone = set(world.gone)
    world.gone.clear()
    with pytest.raises(MachineBusy, match=dead.id):
        world.service().thaw("vm", force=True)
    assert guest.frozen

    world.gone |= gone
    assert world.service().thaw("vm").id == dead.id
    assert not guest.frozen


def test_the_run_of_a_dead_owner_with_several_machines_is_settled_for_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    guests = [world.add_guest("a"), world.add_guest("b")]
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.transaction.Window.run", lambda _: killed())
        with pytest.raises(Killed):
            world.service(group=True).run("nightly")
    world.die()
    for guest in guests:
        guest.frozen, guest.believes_frozen = {"/"}, True
    (run,) = world.service().recover()

    assert [t.state for t in run.targets] == [State.RECOVERED] * 2
    assert not any(guest.frozen for guest in guests)
    assert replace(run, steps=()) in world.service().history(10)


@pytest.mark.parametrize("died_in", ["prepare", "window"])
def test_a_driver_that_is_gone_holds_up_neither_the_thaw_nor_other_runs(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, died_in: str
) -> None:
    if died_in == "window":
        die_before_the_window(world, monkeypatch)
        guest.frozen, guest.believes_frozen = {"/"}, True
    else:
        world.storages["vm"].after["prepare"].append(killed)
        with pytest.raises(Killed):
            world.service().run("nightly")
        world.die()
    with monkeypatch.context() as patch:
        patch.setattr(world, "driver", lambda *_: fails(ConfigError("there is no driver 'memory'")))
        (run,) = world.service().recover()

    assert not guest.frozen
    assert run.state is State.RECOVERED
    no_cut = "; no cut was made" if died_in == "prepare" else ""
    left = "not cleaned up: there is no driver 'memory'"
    assert run.error == f"interrupted: its process died{no_cut}; {left}"
    assert world.service().run("nightly").state is State.DONE


def test_what_could_not_be_removed_is_told(world: World, guest: FakeAgent) -> None:
    storage = world.storages["vm"]
    for failing, error in (("cut", "no space"), ("discard", "no access")):
        storage.before[failing].append(lambda error=error: fails(Rejected(error)))  # type: ignore[misc]
    run = world.service().run("nightly")
    assert run.error == "no space; not cleaned up: no access"

    for failing, error in (("prepare", "no space"), ("discard", "no access")):
        storage.before[failing].append(lambda error=error: fails(Rejected(error)))  # type: ignore[misc]
    run = world.service().run("nightly")
    assert run.error == "no space; not cleaned up: no access"


def test_what_became_of_a_cut_and_nobody_could_tell_is_told(world: World, guest: FakeAgent) -> None:
    storage = world.storages["vm"]
    storage.before["cut"].append(lambda: fails(OutcomeUnknown("no answer")))
    storage.before["happened"].append(lambda: fails(Rejected("no access")))
    run = world.service().run("nightly")
    assert run.error == "no answer; not cleaned up: no access"


def test_the_window_of_a_dead_process_lasted_until_somebody_thawed(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/"}, True
    time.sleep(1)
    (run,) = world.service().recover()
    (intended,) = [s.at for s in dead.steps if s.action is Action.FREEZE]
    confirmed = max(s.at for s in run.steps if s.action is Action.THAW)
    assert run.window_ms is not None
    assert run.window_ms >= (confirmed - intended).total_seconds() * 1000 >= 1000


def test_a_window_is_not_measured_by_the_monotonic_clocks_of_two_boots(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.5)
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    assert world.service(thaw_timeout=0.3).run("nightly").state is State.STUCK
    guest.faults[THAW].clear()
    world.die()
    monkeypatch.setattr(SystemClock, "monotonic", lambda _: time.monotonic() - 1e6)
    (run,) = world.service().recover()
    assert run.window_ms is not None
    assert 0 < run.window_ms < 60_000
    assert run.targets[0].hold_ms is None


def test_a_recovery_that_another_one_overtook_still_says_what_it_did(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulation found it: of a stuck run, which everybody tries, the slower recovery left an intent behind."""
    die_before_the_window(world, monkeypatch)
    overtaking = replace(world.owner, pid=world.owner.pid + 1)

    def overtake() -> None:
        [run] = world.journal.open_runs()
        run = world.journal.take_over(run, overtaking)
        world.journal.move(run, replace(run.targets[0], state=State.RECOVERED), ())

    world.storages["vm"].before["discard"].append(overtake)
    assert world.service().recover() == ()
    [run] = world.service().history(1)
    assert dangling(world.service().show(run.id).steps) == []
