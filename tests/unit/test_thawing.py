"""A freeze that was given up is watched for until it cannot land any more."""

from collections.abc import Callable
from typing import cast

from orchestrator.clock import Deadline
from orchestrator.model import Action, FreezeStatus, Outcome
from orchestrator.ports import Agent
from orchestrator.recorder import Recorder
from orchestrator.thawing import thaw_until_confirmed
from tests.fakes.clock import SteppedClock


class SlowAgent:
    """It answers its n-th look at the status after the n-th of these times; a late freeze lands behind one of them."""

    linger, other = 3.0, None

    def __init__(self, clock: SteppedClock, seconds: list[float], lands_behind: int) -> None:
        self._clock, self._seconds, self._lands_behind = clock, seconds, lands_behind
        self.frozen = False
        self.looks = self.thaws = 0
        self.reset: Callable[[], None] = lambda: None

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        status = FreezeStatus.FROZEN if self.frozen else FreezeStatus.THAWED
        self._clock.step(self._seconds[self.looks] if self.looks < len(self._seconds) else 0.0)
        self.looks += 1
        if self.looks == self._lands_behind:
            self.frozen = True
        return status

    def thaw(self, deadline: Deadline) -> int:
        self.thaws += 1
        self.frozen = False
        return 0


def watched(seconds: list[float], lands_behind: int) -> SlowAgent:
    """The agent after its thaw was watched."""
    clock = SteppedClock()
    agent, recorder = SlowAgent(clock, seconds, lands_behind), Recorder("vm", clock)
    thaw_until_confirmed(cast(Agent, agent), recorder, clock, 60, watch=True)
    assert (recorder.steps[-1].action, recorder.steps[-1].outcome) == (Action.CONFIRM, Outcome.DONE)
    return agent


def test_a_freeze_that_lands_behind_the_confirmation_is_thawed() -> None:
    agent = watched([0.0], lands_behind=1)
    assert (agent.frozen, agent.thaws) == (False, 2)


def test_a_confirmation_that_outlasts_the_watch_is_not_its_end() -> None:
    """The simulation found it: the agent took longer for the first look than a late freeze for its way."""
    agent = watched([9.0], lands_behind=1)
    assert (agent.frozen, agent.thaws) == (False, 2)


def test_only_a_look_that_was_sent_after_the_watch_ends_it() -> None:
    """The simulation found it: the last look was sent before the end, answered after it, and knew nothing."""
    agent = watched([0.0, 9.0], lands_behind=2)
    assert (agent.frozen, agent.thaws) == (False, 2)
