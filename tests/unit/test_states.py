"""The table of moves."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import State
from orchestrator.states import MOVES, OPEN, sources, worst


def test_open_states_are_those_with_a_way_out_and_closed_ones_have_none() -> None:
    assert {before for before, _ in MOVES} == OPEN


def test_a_stuck_guest_leaves_its_state_by_a_confirmed_thaw_alone() -> None:
    assert {after for before, after in MOVES if before is State.STUCK} == {State.RECOVERED}


def test_every_state_but_the_first_can_be_reached() -> None:
    assert {state for state in State if sources(state)} == set(State) - {State.PENDING}


@given(st.lists(st.sampled_from(State), min_size=1))
def test_a_run_is_stuck_when_a_target_is_and_open_when_one_is(states: list[State]) -> None:
    assert (worst(states) is State.STUCK) is (State.STUCK in states)
    assert (worst(states) in OPEN) is any(state in OPEN for state in states)
    assert (worst(states) is State.DONE) is (set(states) == {State.DONE})
