"""How the guard thaws one machine: round after round, with pauses in which others may try, until it is confirmed."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown
from orchestrator.evidence import freeze_may_hold
from orchestrator.guard import record
from orchestrator.guard.record import Record
from orchestrator.guard.watch import Charge
from orchestrator.guard_main import thaw
from orchestrator.model import Action, FreezeStatus, Machine, Outcome
from tests.fakes.clock import SteppedClock


class Agent:
    """An agent, seen from above its channel, that begins to answer at some time."""

    linger, other = 36.0, None

    def __init__(self, clock: SteppedClock, comes: float, error: Exception) -> None:
        self._clock, self._comes, self._error = clock, comes, error
        self.frozen = 2
        #: When it was asked to thaw, and when it was let go.
        self.thaws: list[float] = []
        self.resets: list[float] = []
        #: What happens at the next thaw that it answers.
        self.then: Callable[[], None] = lambda: None

    def thaw(self, deadline: Deadline) -> int:
        self.thaws.append(self._clock.monotonic())
        if self._clock.monotonic() < self._comes:
            self._clock.step(min(1.0, deadline.remaining()))
            raise self._error
        self.then()
        count, self.frozen = self.frozen, 0
        return count

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        return FreezeStatus.FROZEN if self.frozen else FreezeStatus.THAWED

    def reset(self) -> None:
        self.resets.append(self._clock.monotonic())


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def left(tmp_path: Path) -> Iterator[Record]:
    """The record, as recovery has it open."""
    path = record.path(tmp_path, "run", "vm")
    record.create(path)
    with closing(Record(path)) as left:
        yield left


def charge(agent: Agent, left: Record, *, answered: bool = True) -> Charge:
    return Charge("run", Machine("vm"), agent, Record(left.path), None, answered)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [OutcomeUnknown("no answer in time"), MemoryError()], ids=["call", "defect"])
def test_it_has_no_end_but_a_confirmed_thaw(clock: SteppedClock, left: Record, error: Exception) -> None:
    agent = Agent(clock, comes=86400.0, error=error)
    thaw(charge(agent, left), clock)
    assert not agent.frozen
    assert clock.monotonic() < 86400 + 60
    assert not freeze_may_hold(left.read("vm"))
    assert left.read("vm")[-2].figures == {"by": "guard", "thawed": 2}


def test_its_record_stays_small(clock: SteppedClock, left: Record) -> None:
    """A day of failures, of which each says the same."""
    thaw(charge(Agent(clock, 86400.0, OutcomeUnknown("no answer in time")), left), clock)
    assert left.path.stat().st_size < 16 * 1024
    outcomes = [step.outcome for step in left.read("vm") if step.action is Action.THAW]
    assert set(outcomes[:-1]) == {Outcome.UNKNOWN}
    assert outcomes[-1] is Outcome.DONE


def test_between_rounds_others_may_have_the_agent(clock: SteppedClock, left: Record) -> None:
    agent = Agent(clock, 300.0, OutcomeUnknown("no answer in time"))
    thaw(charge(agent, left), clock)

    rounds = [min(at for at in agent.thaws if at > let_go) - let_go for let_go in agent.resets[:-1]]
    assert len(rounds) > 5
    assert all(pause > 0 for pause in rounds)
    assert max(clock.slept) == 30.0


def test_while_somebody_else_thaws_it_waits(clock: SteppedClock, left: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(clock, 0.0, CallError())
    assert left.lock(Deadline.after(clock, 0))
    real = clock.sleep

    def sleep(seconds: float) -> None:
        assert agent.thaws == []
        real(seconds)
        if clock.monotonic() > 60:
            left.unlock()

    monkeypatch.setattr(clock, "sleep", sleep)
    thaw(charge(agent, left), clock)
    assert agent.thaws[0] > 60


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_somebody_else_has_settled_it_leaves_alone(clock: SteppedClock, left: Record, when: str) -> None:
    agent = Agent(clock, 1e9, OutcomeUnknown("no answer in time"))
    mine = charge(agent, left)
    if when == "before":
        left.remove()
    else:
        agent.reset = left.remove  # type: ignore[method-assign]
    thaw(mine, clock)
    assert agent.frozen
    assert bool(agent.thaws) is (when == "meanwhile")


def test_a_freeze_that_was_not_answered_is_watched_for(clock: SteppedClock, left: Record) -> None:
    agent = Agent(clock, 0.0, CallError())
    thaw(charge(agent, left, answered=False), clock)
    assert clock.monotonic() >= agent.linger
    again = Agent(clock, 0.0, CallError())
    before = clock.monotonic()
    thaw(charge(again, left, answered=True), clock)
    assert clock.monotonic() - before < 1


def test_a_thaw_that_is_not_written_down_is_a_thaw(clock: SteppedClock, left: Record) -> None:
    agent = Agent(clock, 0.0, CallError())
    agent.then = left.remove
    thaw(charge(agent, left), clock)
    assert not agent.frozen
