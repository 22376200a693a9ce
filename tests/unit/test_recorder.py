"""Steps are written down whatever happens."""

from collections.abc import Callable
from datetime import datetime

import pytest

from orchestrator.errors import OutcomeUnknown, Rejected, Unreachable
from orchestrator.model import Action, Outcome, Step
from orchestrator.recorder import Recorder
from tests.fakes.clock import SteppedClock


def test_an_outcome_carries_its_duration_and_what_was_learnt() -> None:
    clock = SteppedClock()
    recorder = Recorder("vm", clock)
    with recorder.act(Action.FREEZE, asked="all") as figures:
        clock.step(0.25)
        figures["frozen"] = 2
    (step,) = recorder.steps
    assert (step.outcome, step.duration_ms, step.began) == (Outcome.DONE, 250, 0)
    assert step.figures == {"asked": "all", "frozen": 2}


@pytest.mark.parametrize(
    ("error", "raised", "outcome"),
    [
        (Rejected("no"), Rejected, Outcome.FAILED),
        (Unreachable("gone"), Unreachable, Outcome.FAILED),
        (OutcomeUnknown("lost"), OutcomeUnknown, Outcome.UNKNOWN),
        (ZeroDivisionError("oops"), OutcomeUnknown, Outcome.UNKNOWN),
    ],
)
def test_an_error_is_written_down_and_passed_on(error: Exception, raised: type[Exception], outcome: Outcome) -> None:
    recorder = Recorder("vm", SteppedClock())
    with pytest.raises(raised), recorder.act(Action.CUT):
        raise error
    (step,) = recorder.steps
    assert step.outcome is outcome
    assert str(error) in (step.error or "")


def test_an_abandoned_action_has_one_outcome_however_late_it_ends() -> None:
    recorder = Recorder("vm", SteppedClock())
    with recorder.act(Action.CUT):
        recorder.abandon(Action.CUT, OutcomeUnknown("it did not end"))
    assert [step.outcome for step in recorder.steps] == [Outcome.UNKNOWN]


def test_an_action_that_ended_just_before_it_was_abandoned_keeps_its_outcome() -> None:
    recorder = Recorder("vm", SteppedClock())
    with recorder.act(Action.CUT):
        pass
    recorder.abandon(Action.CUT, OutcomeUnknown("it did not end"))
    assert [step.outcome for step in recorder.steps] == [Outcome.DONE]


def test_an_action_that_ends_while_it_is_abandoned_has_one_outcome() -> None:
    class Clock(SteppedClock):
        def now(self) -> datetime:
            if meanwhile:
                meanwhile.pop()()
            return super().now()

    recorder = Recorder("vm", Clock())
    meanwhile: list[Callable[[], None]] = []
    with recorder.act(Action.CUT):
        meanwhile.append(lambda: recorder.abandon(Action.CUT, OutcomeUnknown("it did not end")))
    assert [step.outcome for step in recorder.steps] == [Outcome.UNKNOWN]


def test_the_journal_gets_each_step_once() -> None:
    recorder = Recorder("vm", SteppedClock())
    recorder.intend(Action.FREEZE)
    first = recorder.unjournaled()
    recorder.intend(Action.CUT)
    recorder.journaled(first)
    assert [step.action for step in recorder.unjournaled()] == [Action.CUT]


def test_a_defect_in_a_display_does_not_reach_the_transaction() -> None:
    def display(_: Step) -> None:
        raise ValueError

    recorder = Recorder("vm", SteppedClock(), display)
    recorder.intend(Action.FREEZE)
    assert len(recorder.steps) == 1
