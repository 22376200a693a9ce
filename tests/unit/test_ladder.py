"""The ladder of a machine with two ways: both have their turns, and only what nothing can undo confirms."""

from collections.abc import Callable
from typing import TypeVar, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown, Rejected, Unreachable
from orchestrator.evidence import freeze_may_hold
from orchestrator.model import Action, FreezeStatus, OsInfo, Outcome, Step, Way
from orchestrator.ports import Agent
from orchestrator.recorder import Recorder
from orchestrator.thawing import thaw_until_confirmed
from tests.fakes.clock import SteppedClock

T = TypeVar("T")

#: What may become of a command: obeyed, never heard of, refused, not sent, obeyed without an answer.
FATES = ("ok", "mute", "no", "unreachable", "lost")


class Guest:
    """A frozen kernel, and perhaps a freeze that its first agent was sent and has not come to yet."""

    def __init__(self, *, pending: bool) -> None:
        self.clock = SteppedClock()
        self.frozen, self.pending = not pending, pending


class OneWay:
    """One of the guest's two agents. It works in order: before whatever else it obeys comes the pending freeze."""

    other: "OneWay | None" = None

    def __init__(self, guest: Guest, way: Way, fates: list[str], then: str) -> None:
        self.way, self.linger = way, 3.0
        self._guest, self._fates, self._then = guest, fates, then
        self._believes_frozen = guest.frozen and way is Way.SOCKET

    def thaw(self, deadline: Deadline) -> int:
        return self._ask(self._obey_thaw, deadline)

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        return self._ask(lambda: FreezeStatus.FROZEN if self._believes_frozen else FreezeStatus.THAWED, deadline)

    def osinfo(self, deadline: Deadline) -> OsInfo:
        return self._ask(lambda: OsInfo("debian", None, None, None), deadline)

    def reset(self) -> None:
        """Each call of this agent has a fate of its own anyway."""

    def _obey_thaw(self) -> int:
        count = 2 if self._guest.frozen else 0
        self._guest.frozen = self._believes_frozen = False
        return count

    def _ask(self, obey: Callable[[], T], deadline: Deadline) -> T:
        fate = self._fates.pop(0) if self._fates else self._then
        if fate == "unreachable":
            raise Unreachable("the connection was refused")
        if fate == "no":
            raise Rejected("Input/output error")
        if fate != "mute":
            if self.way is Way.SOCKET and self._guest.pending:
                self._guest.pending, self._guest.frozen, self._believes_frozen = False, True, True
            answer = obey()
            if fate == "ok":
                return answer
        self._guest.clock.step(deadline.remaining())
        raise OutcomeUnknown("no answer in time")


def thaw(
    guest: Guest, first: list[str], second: list[str], limit: float = 60, then: tuple[str, str] = ("ok", "ok")
) -> tuple[list[Step], bool]:
    """The steps of one climb, and whether it was confirmed."""
    agent = OneWay(guest, Way.SOCKET, first, then[0])
    agent.other = OneWay(guest, Way.LIBVIRT, second, then[1])
    recorder = Recorder("vm", guest.clock)
    recorder.intend(Action.THAW)
    try:
        thaw_until_confirmed(cast(Agent, agent), recorder, guest.clock, limit, watch=guest.pending)
    except CallError:
        return list(recorder.steps[1:]), False
    return list(recorder.steps[1:]), True


def ways(steps: list[Step]) -> list[Way]:
    """By which way each thaw went."""
    return [step.figures["way"] for step in steps if step.action is Action.THAW]


fates = st.lists(st.sampled_from(FATES), max_size=12)
ends = st.tuples(st.sampled_from(FATES), st.sampled_from(FATES))


@given(first=fates, second=fates, then=ends, pending=st.booleans(), limit=st.sampled_from([2.0, 10.0, 60.0]))
def test_what_is_confirmed_stays_thawed_and_the_steps_say_the_same(
    first: list[str], second: list[str], then: tuple[str, str], pending: bool, limit: float
) -> None:
    guest = Guest(pending=pending)
    steps, confirmed = thaw(guest, first, second, limit, then)
    if confirmed:
        assert not guest.frozen
        assert not guest.pending
    assert freeze_may_hold([Step("vm", Action.THAW, Outcome.INTENT, guest.clock.now(), 0.0), *steps]) is not confirmed


@given(limit=st.floats(1.0, 600.0), fate=st.sampled_from(FATES[1:]))
def test_whatever_is_wrong_with_the_first_way_the_second_has_its_turn_within_the_limit(limit: float, fate: str) -> None:
    guest = Guest(pending=False)
    steps, confirmed = thaw(guest, [], [], limit, (fate, "ok"))
    assert confirmed
    assert guest.clock.monotonic() <= limit
    assert ways(steps) == [Way.SOCKET, Way.SOCKET, Way.LIBVIRT]
    assert steps[-1].figures == {"way": Way.LIBVIRT, "status": FreezeStatus.THAWED}


def test_after_that_they_take_turns() -> None:
    steps, confirmed = thaw(Guest(pending=False), [], [], 60, ("unreachable", "no"))
    assert not confirmed
    assert ways(steps)[2:8] == [Way.LIBVIRT, Way.SOCKET] * 3


def test_the_second_way_lets_the_guest_go_on_while_a_freeze_by_the_first_may_still_land() -> None:
    """The agent that was sent the freeze is mute: it may obey it in an hour."""
    guest = Guest(pending=True)
    guest.frozen = True
    steps, confirmed = thaw(guest, [], [], 60, ("mute", "ok"))
    assert not confirmed
    assert not guest.frozen
    assert steps[-1].error is not None


def test_the_way_that_sent_the_freeze_confirms_when_it_is_back() -> None:
    guest = Guest(pending=True)
    steps, confirmed = thaw(guest, ["mute", "mute"], [])
    assert confirmed
    assert ways(steps) == [Way.SOCKET, Way.SOCKET, Way.LIBVIRT, Way.SOCKET]
    errors = [step.error for step in steps if step.action is Action.CONFIRM and step.error]
    assert errors == ["thawed by libvirt, but a freeze was sent by socket and may land there yet"]


@pytest.mark.parametrize("fate", FATES[1:])
def test_a_try_that_fails_once_stays_on_its_way(fate: str) -> None:
    steps, confirmed = thaw(Guest(pending=False), [fate], [])
    assert confirmed
    assert ways(steps) == [Way.SOCKET, Way.SOCKET]
