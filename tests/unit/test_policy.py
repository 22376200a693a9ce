"""What steps prove. The law: nothing is called consistent or thawed that the steps do not show to be."""

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.evidence import freeze_may_hold, fuse_may_burn, is_news, leased_until, operators_word
from orchestrator.model import (
    Action,
    Consistency,
    FreezeStatus,
    Job,
    Machine,
    OsInfo,
    Outcome,
    Owner,
    Quiesce,
    Run,
    State,
    Step,
    Target,
    Trigger,
)
from orchestrator.policy import Limits, doubt_about, exit_code, judge, limits_of, worst_consistency

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def step(
    action: Action, outcome: Outcome = Outcome.DONE, monotonic: float = 0, took: float = 0, **figures: object
) -> Step:
    error = None if outcome in {Outcome.DONE, Outcome.INTENT} else f"{action} went wrong"
    return Step("vm", action, outcome, _AT, monotonic, took * 1000, figures, error)


INTENTS = [step(action, Outcome.INTENT) for action in (Action.FREEZE, Action.CUT, Action.THAW)]
FROZEN = step(Action.FREEZE, monotonic=10, took=1, frozen=2)
CUT = step(Action.CUT, monotonic=12, took=1, made={})
THAWED = step(Action.THAW, monotonic=14, took=1, thawed=2)
CONFIRMED = step(Action.CONFIRM, monotonic=15, took=1, status=FreezeStatus.THAWED)
GOOD = [*INTENTS, FROZEN, CUT, THAWED, CONFIRMED]


def test_a_complete_window_is_proven() -> None:
    verdict = judge(Quiesce.REQUIRED, GOOD)
    assert (verdict.state, verdict.consistency, verdict.error) == (State.DONE, Consistency.FILESYSTEM, None)
    assert (verdict.window_ms, verdict.hold_ms) == (6000, 4000)


@pytest.mark.parametrize(
    ("old", "new", "doubt"),
    [
        (FROZEN, step(Action.FREEZE, Outcome.UNKNOWN, 10, 1), "the freeze did not succeed"),
        (FROZEN, None, "the guest was not frozen"),
        (THAWED, step(Action.THAW, monotonic=14, took=1, thawed=1), "found only 1 still frozen"),
        (THAWED, step(Action.THAW, monotonic=14, took=1, thawed=0), "found only 0 still frozen"),
        (THAWED, step(Action.THAW, monotonic=14, took=1, thawed=3), "found 3 still frozen"),
        (CUT, step(Action.CUT, monotonic=13.5, took=1, made={}), "ended after the guest was thawed"),
        (CUT, step(Action.CUT, monotonic=10.5, took=1, made={}), "began before the guest was frozen"),
    ],
)
def test_what_is_missing_from_the_proof_is_said(old: Step, new: Step | None, doubt: str) -> None:
    steps = [s for each in GOOD if (s := new if each is old else each) is not None]
    assert doubt in (doubt_about(steps) or "")
    assert judge(Quiesce.REQUIRED, steps).state is State.FAILED
    assert judge(Quiesce.REQUIRED, steps).consistency is Consistency.CRASH
    assert judge(Quiesce.PREFERRED, steps).state is State.DONE


def test_a_guest_that_was_frozen_anew_after_another_hand_had_thawed_it_is_not_proven() -> None:
    nothing = step(Action.THAW, monotonic=14, took=1, thawed=0)
    frozen_anew = step(Action.CONFIRM, Outcome.FAILED, monotonic=15, took=1, status=FreezeStatus.FROZEN)
    again = step(Action.THAW, monotonic=17, took=1, thawed=2)
    steps = [*INTENTS, FROZEN, CUT, nothing, frozen_anew, again, replace(CONFIRMED, monotonic=18)]

    assert judge(Quiesce.REQUIRED, steps).consistency is Consistency.CRASH
    assert "found only 0 still frozen" in (doubt_about(steps) or "")


@pytest.mark.parametrize(
    ("steps", "may_hold"),
    [
        ([], False),
        (INTENTS, True),
        ([*INTENTS, step(Action.FREEZE, Outcome.FAILED, sent=False)], False),
        ([*INTENTS, step(Action.FREEZE, Outcome.FAILED)], True),
        ([*INTENTS, FROZEN, CUT, THAWED], True),
        (GOOD, False),
        ([*GOOD, step(Action.CONFIRM, Outcome.FAILED, status=FreezeStatus.FROZEN)], True),
        ([step(Action.THAW, Outcome.INTENT)], True),
    ],
)
def test_a_guest_counts_as_frozen_from_the_intent_to_the_confirmed_thaw(steps: list[Step], may_hold: bool) -> None:
    assert freeze_may_hold(steps) is may_hold
    assert (judge(Quiesce.PREFERRED, steps).state is State.STUCK) is may_hold


any_step = st.builds(
    step,
    st.sampled_from(Action),
    st.sampled_from(Outcome),
    st.floats(0, 20),
    st.floats(0, 5),
    frozen=st.integers(1, 3),
    thawed=st.integers(0, 3),
    sent=st.booleans(),
    happened=st.booleans(),
)
almost_good = st.permutations(GOOD).flatmap(
    lambda order: st.lists(any_step, max_size=3).map(lambda extra: [*order[: len(order) - len(extra)], *extra])
)


@given(st.sampled_from(Quiesce), st.lists(any_step, max_size=10) | almost_good)
def test_no_history_is_called_better_than_it_was(quiesce: Quiesce, steps: list[Step]) -> None:
    verdict = judge(quiesce, steps)

    assert (verdict.state is State.STUCK) is freeze_may_hold(steps)
    assert verdict.state in {State.STUCK, State.DONE, State.FAILED}
    if verdict.consistency is Consistency.FILESYSTEM:
        freezes = [s for s in steps if s.action is Action.FREEZE and s.outcome is Outcome.DONE]
        thaws = [s for s in steps if s.action is Action.THAW and s.outcome is not Outcome.INTENT]
        cuts = [s for s in steps if s.action is Action.CUT and s.outcome is Outcome.DONE]
        assert any(freeze.monotonic <= cut.began for freeze in freezes for cut in cuts)
        assert any(cut.monotonic <= thaw.began for thaw in thaws for cut in cuts)
        assert any(t.figures["thawed"] == f.figures["frozen"] for t in thaws for f in freezes)
    if verdict.state is State.DONE and quiesce is Quiesce.REQUIRED:
        assert verdict.consistency is Consistency.FILESYSTEM
    if verdict.state is State.FAILED:
        assert verdict.error


@pytest.mark.parametrize(
    ("state", "quiesce", "consistency", "code"),
    [
        (State.DONE, Quiesce.REQUIRED, Consistency.FILESYSTEM, 0),
        (State.DONE, Quiesce.REQUIRED, Consistency.APPLICATION, 0),
        (State.DONE, Quiesce.PREFERRED, Consistency.CRASH, 4),
        (State.DONE, Quiesce.OFF, Consistency.CRASH, 0),
        (State.FAILED, Quiesce.REQUIRED, Consistency.CRASH, 1),
        (State.CANCELLED, Quiesce.REQUIRED, Consistency.NONE, 1),
        (State.RECOVERED, Quiesce.REQUIRED, Consistency.CRASH, 1),
        (State.STUCK, Quiesce.OFF, Consistency.NONE, 3),
        (State.RUNNING, Quiesce.OFF, Consistency.NONE, 3),
        (State.REFUSED, Quiesce.PREFERRED, Consistency.NONE, 5),
    ],
)
def test_each_end_has_its_exit_code(state: State, quiesce: Quiesce, consistency: Consistency, code: int) -> None:
    job = Job("nightly", ("vm",), "memory", quiesce=quiesce)
    run = Run("r", job, Trigger.MANUAL, Owner("h", "b", 1, 1), _AT, (), state, consistency)
    assert exit_code(run) == code


def test_a_run_is_no_better_than_its_worst_target() -> None:
    assert worst_consistency([Consistency.FILESYSTEM, Consistency.CRASH]) is Consistency.CRASH
    assert worst_consistency([]) is Consistency.NONE


def system(name: str) -> OsInfo:
    return OsInfo(name, None, None, None)


@pytest.mark.parametrize(
    ("guest", "freeze_timeout", "hold_limit", "limits"),
    [
        (system("mswindows"), 30, 5, Limits(60, 5)),
        (system("mswindows"), 90, 20, Limits(90, 9)),
        (system("debian"), 30, 20, Limits(30, 20)),
        (None, 30, 20, Limits(30, 20)),
    ],
)
def test_the_limits_are_those_that_the_guest_can_keep(
    guest: OsInfo | None, freeze_timeout: float, hold_limit: float, limits: Limits
) -> None:
    job = Job("nightly", ("vm",), "memory", freeze_timeout=freeze_timeout, hold_limit=hold_limit)
    assert limits_of(job, guest) == limits


@pytest.mark.parametrize(("name", "held", "proven"), [("mswindows", 9, True), ("mswindows", 11, False), ("", 11, True)])
def test_windows_is_not_believed_to_have_held_for_longer_than_it_can(name: str, held: float, proven: bool) -> None:
    checked = step(Action.PREFLIGHT, os=asdict(system(name)))
    thaw = replace(THAWED, monotonic=FROZEN.monotonic + held, duration_ms=0)
    doubt = doubt_about([checked, *INTENTS, FROZEN, CUT, thaw, CONFIRMED])
    assert (doubt is None) is proven


def test_a_fuse_may_burn_until_a_step_says_that_it_does_not() -> None:
    intent, lit = step(Action.FUSE, Outcome.INTENT, seconds=60), step(Action.FUSE, lit=True)
    lost, failed = step(Action.FUSE, Outcome.UNKNOWN), step(Action.FUSE, Outcome.FAILED, lit=False)
    out, left = step(Action.FUSE, lit=False, found=True), step(Action.FUSE, Outcome.FAILED, lit=True)
    assert not fuse_may_burn(GOOD)
    assert all(map(fuse_may_burn, ([intent], [intent, lit, *GOOD], [intent, lost], [intent, lit, left])))
    assert not any(map(fuse_may_burn, ([intent, failed], [intent, lit, out], [intent, lit, left, out])))


def tried(at: datetime, *outcomes: Outcome) -> list[Step]:
    """Thaws that failed at that time."""
    return [replace(step(Action.THAW, outcome), at=at) for outcome in outcomes]


@settings(max_examples=30, deadline=None)
@given(
    minutes=st.integers(20, 300),
    tries=st.lists(st.lists(st.sampled_from([Outcome.FAILED, Outcome.UNKNOWN, Outcome.DONE]), min_size=1), min_size=1),
)
def test_the_history_of_a_stuck_guest_stays_short_however_long_it_is(minutes: int, tries: list[list[Outcome]]) -> None:
    """A try each few minutes for twenty days, and whatever the guest answers."""
    history, entries, now = [*INTENTS, replace(FROZEN, at=_AT + timedelta(seconds=30))], 0, _AT
    for number in range(20 * 24 * 60 // minutes):
        now += timedelta(minutes=minutes)
        new = tried(now, *tries[number % len(tries)])
        if is_news(history, new, now):
            history += new
            entries += 1
    assert 0 < entries < 20 + 20 + len(Outcome)
    assert now - history[-1].at <= timedelta(days=1)


def test_an_operators_word_ends_it_and_proves_nothing() -> None:
    word = step(Action.CONFIRM, Outcome.UNKNOWN, 20, by="operator", reason="it was reset")
    steps = [*INTENTS, FROZEN, CUT, step(Action.THAW, Outcome.UNKNOWN, 14, 1)]
    assert judge(Quiesce.REQUIRED, steps).state is State.STUCK
    verdict = judge(Quiesce.REQUIRED, [*steps, word])
    assert (verdict.state, verdict.consistency, verdict.window_ms) == (State.FAILED, Consistency.CRASH, None)
    assert operators_word([*steps, word]) == "it was reset"
    assert operators_word(GOOD) is None


def test_a_lease_lasts_as_long_as_the_freeze_and_then_as_long_as_recovery_says() -> None:
    until = _AT + timedelta(minutes=3)
    freeze = step(Action.FREEZE, Outcome.INTENT, until=until.isoformat())
    owner = Owner("h", "b", 1, 1)
    target = Target(Machine("vm"), State.RUNNING)
    run = Run("r", None, Trigger.MANUAL, owner, _AT, (target,), steps=(freeze, *INTENTS[1:]))
    assert leased_until(run) == until
    assert leased_until(replace(run, steps=(freeze, *INTENTS[1:], *GOOD[3:]))) == _AT + timedelta(days=1)
    assert leased_until(replace(run, steps=())) == _AT + timedelta(days=1)
    recovering = replace(owner, until=_AT + timedelta(hours=1))
    assert leased_until(replace(run, owner=recovering)) == recovering.until
