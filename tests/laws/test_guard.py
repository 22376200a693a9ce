"""No guard, no freeze; the guard is told what is done; and what it did is in the history."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from orchestrator.clock import Stop
from orchestrator.errors import JournalUnavailable, NoGuard
from orchestrator.model import Action, Consistency, FreezeStatus, Outcome, Quiesce, Run, State, Step
from orchestrator.policy import exit_code
from orchestrator.thawing import one_call
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.dying import die_before_the_window
from tests.laws.test_transaction import fails, outcomes

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"
AT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def by_guard(counted: int) -> list[Step]:
    """What a guard notes that has thawed a guest."""
    return [
        Step("vm", Action.THAW, Outcome.DONE, AT, 17.125, 3.5, {"by": "guard", "thawed": counted}),
        Step("vm", Action.CONFIRM, Outcome.DONE, AT, 17.5, 1.0, {"by": "guard", "status": FreezeStatus.THAWED}),
    ]


def test_it_is_armed_before_the_freeze_and_let_go_after_the_thaw(world: World, guest: FakeAgent) -> None:
    seen = []

    def look() -> None:
        seen.append({key: list(said) for key, said in world.guard.armed.items()})

    world.storages["vm"].before["cut"].append(look)
    run = world.service(freeze_timeout=7, hold_limit=3).run("nightly")

    assert seen == [{(run.id, "vm"): [(7, False), (3, True)]}]
    assert not world.guard.armed and not world.guard.records


@pytest.mark.parametrize(
    ("fault", "answered"), [(faults.error("no"), True), (faults.reply_lost(), False), (faults.answer(0), True)]
)
def test_it_is_told_how_long_each_phase_may_take(
    world: World, guest: FakeAgent, fault: faults.Fault, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of a freeze that was not answered, that it may land still. Of a thaw, it is told call by call: one that hangs
    costs the guest one of them, and not all that `thaw_timeout` allows.
    """
    monkeypatch.setattr("tests.fakes.guard.MemoryLease.release", lambda _: None)
    guest.faults[FREEZE].append(fault)
    run = world.service(freeze_timeout=0.3, hold_limit=3, thaw_timeout=9).run("nightly")

    freeze, hold, *thaw = world.guard.armed[run.id, "vm"]
    assert (freeze, hold) == ((0.3, False), (3, answered))
    assert len(thaw) >= 2
    assert set(thaw) == {(one_call(), answered)}
    assert one_call() < 9


def test_a_guest_that_does_not_thaw_is_tried_again_within_the_guard_s_patience(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.guard.MemoryLease.release", lambda _: None)
    guest.faults[THAW] += [faults.error("no")] * 2
    run = world.service().run("nightly")

    tries = [step for step in run.steps if step.action is Action.THAW and step.outcome is not Outcome.INTENT]
    assert len(tries) == 3
    assert world.guard.armed[run.id, "vm"].count((one_call(), True)) > 3


def test_without_a_guard_no_guest_is_frozen(world: World, guest: FakeAgent) -> None:
    world.guard.refuses = "there is no guard: it ended"
    run = world.service().run("nightly")

    assert {FREEZE, THAW}.isdisjoint(guest.calls)
    assert (run.state, run.error, exit_code(run)) == (State.FAILED, "there is no guard: it ended", 1)
    assert [s.figures for s in run.steps if s.action is Action.FREEZE and s.outcome is Outcome.FAILED] == [
        {"sent": False}
    ]
    assert "cut" not in world.storages["vm"].calls
    assert world.storages["vm"].prepared == set()
    assert world.journal.open_runs() == ()


def test_without_a_guard_a_job_that_only_prefers_to_quiesce_cuts_all_the_same(world: World, guest: FakeAgent) -> None:
    world.guard.refuses = "there is no guard: it ended"
    run = world.service(quiesce=Quiesce.PREFERRED).run("nightly")

    assert {FREEZE, THAW}.isdisjoint(guest.calls)
    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.CRASH, 4)
    assert run.error == "the freeze did not succeed: there is no guard: it ended"


def test_a_run_that_does_not_freeze_needs_no_guard(world: World, guest: FakeAgent) -> None:
    world.guard.refuses = "there is no guard: it ended"
    run = world.service(quiesce=Quiesce.OFF).run("nightly")

    assert (run.state, run.error) == (State.DONE, None)


def test_a_group_is_frozen_only_when_it_is_armed_for_all_of_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    guests = [world.add_guest("a"), world.add_guest("b")]
    real = world.guard.arm

    def arm(run_id: str, machine: object) -> object:
        if machine is world.machines["b"]:
            fails(NoGuard("the guard cannot reach the machine"))
        return real(run_id, machine)  # type: ignore[arg-type]

    monkeypatch.setattr(world.guard, "arm", arm)
    run = world.service(group=True).run("nightly")

    assert {target.state for target in run.targets} == {State.FAILED}
    assert all(FREEZE not in guest.calls for guest in guests)
    assert world.guard.armed == {}


def test_a_freeze_that_was_not_carried_out_needs_it_no_longer(world: World, guest: FakeAgent) -> None:
    """Somebody else froze the guest between our last look and our freeze: the guard must not thaw that either."""
    guest.faults[FREEZE].append(faults.error("disabled: the agent is in frozen state", "CommandNotFound"))
    world.service().run("nightly")

    assert THAW not in guest.calls
    assert world.guard.armed == {}


def test_a_journal_that_refuses_the_intents_is_asked_before_it(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.guard, "arm", lambda *_: fails(AssertionError("it was armed")))
    monkeypatch.setattr(world.journal, "move", lambda *_: fails(JournalUnavailable("the disk is full")))
    with pytest.raises(JournalUnavailable):
        world.service().run("nightly")


def test_a_stuck_guest_stays_its_charge_until_it_is_settled(world: World, guest: FakeAgent) -> None:
    """Without a limit: a service whose guest is stuck must not be ended for that."""
    guest.faults[THAW].extend([faults.error("no")] * 100)
    run = world.service(thaw_timeout=0.5).run("nightly")
    assert run.state is State.STUCK
    assert world.guard.armed[run.id, "vm"][-1] == (None, True)

    guest.faults[THAW].clear()
    assert world.service().recover()[0].state is State.RECOVERED
    assert not world.guard.armed and not world.guard.records


def test_what_it_did_is_in_the_history_and_the_guest_is_not_asked_again(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    world.guard.records[dead.id, "vm"].extend(by_guard(2))

    (run,) = world.service().recover()
    assert (run.state, run.consistency) == (State.RECOVERED, Consistency.NONE)
    assert THAW not in guest.calls
    assert [step for step in run.steps if step.figures.get("by") == "guard"] == by_guard(2)
    assert outcomes(run, Action.THAW) == [Outcome.INTENT, Outcome.UNKNOWN, Outcome.DONE]
    assert world.guard.records == {}


def test_what_it_tried_in_vain_is_in_the_history_too(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/"}, True
    failed = replace(by_guard(0)[0], outcome=Outcome.UNKNOWN, figures={"by": "guard"}, error="no answer in time")
    world.guard.records[dead.id, "vm"].append(failed)

    (run,) = world.service().recover()
    assert not guest.frozen
    assert failed in run.steps
    assert [s.figures["thawed"] for s in run.steps if s.action is Action.THAW and s.outcome is Outcome.DONE] == [1]


def test_its_record_stays_until_the_journal_has_it(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    world.guard.records[dead.id, "vm"].extend(by_guard(2))
    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "move", lambda *_: fails(JournalUnavailable("the database is away")))
        with pytest.raises(JournalUnavailable):
            world.service().recover()
    assert world.guard.records[dead.id, "vm"] == by_guard(2)
    world.die()

    (run,) = world.service().recover()
    assert [step for step in run.steps if step.figures.get("by") == "guard"] == by_guard(2)
    assert world.guard.records == {}


def test_it_is_dismissed_before_the_run_is_closed(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal's answer may never be heard: then the run is closed, and the guard must not thaw what the next one
    freezes.
    """
    dead = die_before_the_window(world, monkeypatch)
    move = world.journal.move

    def written_unheard(*what: Any) -> None:
        assert not world.guard.armed
        move(*what)
        raise JournalUnavailable("the connection broke")

    monkeypatch.setattr(world.journal, "move", written_unheard)
    assert world.guard.armed.keys() == {(dead.id, "vm")}
    with pytest.raises(JournalUnavailable):
        world.service().recover()
    assert world.journal.open_runs() == ()


@pytest.mark.parametrize(("counted", "consistency"), [(2, Consistency.FILESYSTEM), (1, Consistency.CRASH)])
def test_its_count_may_prove_the_cut_of_a_guest_that_was_stuck(
    world: World, guest: FakeAgent, counted: int, consistency: Consistency
) -> None:
    """Freeze and cut are journaled, and no thaw of ours took effect: what the guard counted was frozen throughout."""
    guest.faults[THAW].extend([faults.error("no")] * 100)
    stuck = world.service(thaw_timeout=0.5).run("nightly")
    assert stuck.state is State.STUCK
    guest.frozen.clear()
    guest.believes_frozen = False
    world.guard.records[stuck.id, "vm"].extend(by_guard(counted))

    (run,) = world.service().recover()
    assert (run.state, run.consistency) == (State.RECOVERED, consistency)
    assert [step for step in run.steps if step.figures.get("by") == "guard"] == by_guard(counted)


def test_steps_that_the_journal_has_already_are_not_written_twice(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recovery that stays stuck leaves the record to the guard, which may come further than it."""
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.3)
    dead = die_before_the_window(world, monkeypatch)
    guest.frozen, guest.believes_frozen = {"/"}, True
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    failed = replace(by_guard(0)[0], outcome=Outcome.FAILED, figures={"by": "guard"}, error="no")
    world.guard.records[dead.id, "vm"].append(failed)
    assert world.service(thaw_timeout=0.3).recover()[0].state is State.STUCK

    world.guard.records[dead.id, "vm"].extend(by_guard(1))
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
    assert [step for step in run.steps if step.figures.get("by") == "guard"] == [failed, *by_guard(1)]


def test_a_user_who_ends_the_run_leaves_nothing_armed(world: World, guest: FakeAgent) -> None:
    stop = Stop()
    world.storages["vm"].before["cut"].append(stop.request)
    run: Run = world.service().run("nightly", stop=stop)

    assert run.state in {State.DONE, State.CANCELLED}
    assert world.guard.armed == {}
