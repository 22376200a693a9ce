"""What is due: at most one run for whatever was missed, and nothing that was decided before."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import CatchUp, Job
from orchestrator.scheduler.agenda import Decision, decide, delay
from orchestrator.scheduler.times import Every

FIRST = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


def decision(hours_undecided: float, minutes_late: float = 0, *, paused: bool = False, **keys: Any) -> Decision:
    """What is decided about an hourly job some hours after its horizon, at noon and a few minutes."""
    now = FIRST + 12 * HOUR + timedelta(minutes=minutes_late)
    job = Job("job", ("vm",), "command", every=3600.0, **keys)
    return decide(job, Every(3600, FIRST), now - hours_undecided * HOUR, now, paused=paused, local=now)


def test_nothing_is_due_twice() -> None:
    assert decision(0) == Decision()
    assert decision(0.5, 45) == Decision()


def test_of_all_that_was_missed_the_newest_is_run() -> None:
    noon = FIRST + 12 * HOUR
    assert decision(1) == decision(9.5) == Decision(run=noon, horizon=noon)


def test_what_is_not_caught_up_is_let_go_when_it_is_late() -> None:
    noon = FIRST + 12 * HOUR
    assert decision(9, 2, catch_up=CatchUp.SKIP) == Decision(run=noon, horizon=noon)
    late = decision(9, 20, catch_up=CatchUp.SKIP)
    assert (late.run, late.horizon) == (None, noon)
    assert late.let_go == "nobody was there to run it in time"


def test_a_pause_lets_go() -> None:
    held = decision(3, paused=True)
    assert (held.run, held.horizon, held.let_go) == (None, FIRST + 12 * HOUR, "the job is paused")


@pytest.mark.parametrize(("window", "covered"), [("mon 11:00-13:00", True), ("sun 11:00-13:00", False)])
def test_a_blackout_puts_off_or_lets_go(window: str, covered: bool) -> None:
    noon = FIRST + 12 * HOUR
    put_off = decision(3, blackout=(window,))
    let_go = decision(3, blackout=(window,), catch_up=CatchUp.SKIP)
    run = Decision(run=noon, horizon=noon)
    assert put_off == (Decision() if covered else run)
    assert (let_go.run is None, let_go.horizon) == (covered, noon)


@given(seconds=st.integers(1, 10**5), undecided=st.integers(1, 10**9), now=st.integers(0, 10**9))
def test_however_long_nobody_looked_it_is_the_newest_that_is_due(seconds: int, undecided: int, now: int) -> None:
    job, moment = Job("job", ("vm",), "command", every=float(seconds)), FIRST + timedelta(seconds=now)
    horizon = moment - timedelta(seconds=undecided)
    found = decide(job, Every(seconds, FIRST), horizon, moment, paused=False, local=moment).run
    newest = FIRST + timedelta(seconds=now // seconds * seconds)
    assert found == (newest if newest > horizon else None)


@given(name=st.text(), jitter=st.floats(0, 86400))
def test_jitter_is_the_same_for_a_job_always(name: str, jitter: float) -> None:
    job = Job(name, ("vm",), "command", jitter=jitter)
    assert timedelta() <= delay(job) == delay(job) <= timedelta(seconds=jitter + 0.001)


def test_with_jitter_a_job_is_due_later() -> None:
    job = Job("job", ("vm",), "command", every=3600.0, jitter=600.0)
    begins = FIRST + 12 * HOUR + delay(job)
    for moment, due in [(begins - timedelta(seconds=1), None), (begins, FIRST + 12 * HOUR)]:
        horizon = FIRST + 11 * HOUR
        assert decide(job, Every(3600, FIRST), horizon, moment, paused=False, local=moment).run == due
