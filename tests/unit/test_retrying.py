"""The rules of repetition, on a stepped clock."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Deadline
from orchestrator.errors import (
    CommandDisabled,
    JournalMismatch,
    JournalUnavailable,
    OutcomeUnknown,
    QuiesceError,
    Rejected,
    Unreachable,
)
from orchestrator.retrying import after_thaw, until_answered, until_confirmed
from tests.fakes.clock import SteppedClock


class Calls:
    """Raises each of the errors once, and then returns."""

    def __init__(self, *errors: QuiesceError) -> None:
        self._errors = list(errors)
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


@pytest.mark.parametrize(
    ("rule", "repeated", "final"),
    [
        (until_answered, [Unreachable(), OutcomeUnknown()], [Rejected(), CommandDisabled(), JournalUnavailable()]),
        (until_confirmed, [Unreachable(), OutcomeUnknown(), Rejected(), CommandDisabled()], [JournalUnavailable()]),
        (after_thaw, [JournalUnavailable()], [JournalMismatch(), Unreachable()]),
    ],
)
def test_each_phase_repeats_what_it_may(
    rule: Callable[[Deadline], Callable[[Calls], str]], repeated: list[QuiesceError], final: list[QuiesceError]
) -> None:
    deadline = Deadline.after(SteppedClock(), 60)
    assert rule(deadline)(Calls(*repeated)) == "done"
    for error in final:
        calls = Calls(error)
        with pytest.raises(type(error)):
            rule(deadline)(calls)
        assert calls.count == 1


@given(limit=st.floats(0.01, 100), took=st.floats(0, 5))
def test_a_rule_ends_before_its_deadline_and_not_after_it(limit: float, took: float) -> None:
    clock = SteppedClock()
    deadline = Deadline.after(clock, limit)

    def call() -> None:
        assert clock.monotonic() < limit or clock.slept == []
        clock.step(took)
        raise Unreachable

    with pytest.raises(Unreachable):
        until_confirmed(deadline)(call)
    assert clock.monotonic() <= limit + took
    assert all(wait <= 5.0 for wait in clock.slept)


def test_the_first_repetition_of_a_thaw_comes_at_once_and_later_ones_slower() -> None:
    clock = SteppedClock()
    until_confirmed(Deadline.after(clock, 600))(Calls(*[Unreachable()] * 10))
    assert clock.slept == sorted(clock.slept)
    assert clock.slept[0] == 0.1
    assert clock.slept[-1] == 5.0
