"""An agent that was passed by believes in a freeze that is over: the next run tells it, and thaws nobody else's."""

from collections.abc import Callable

import pytest

from orchestrator.errors import FrozenByOther
from orchestrator.model import Action, Outcome, Run, Sight, State, Trigger, Way
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

THAW, STATUS = "guest-fsfreeze-thaw", "guest-fsfreeze-status"


@pytest.fixture
def second(world: World, guest: FakeAgent) -> FakeAgent:
    """The second agent of the machine `vm`."""
    return world.add_second_way("vm")


@pytest.fixture
def left(world: World, guest: FakeAgent, second: FakeAgent) -> Run:
    """A run whose thaw came by the second way alone: the first agent goes on believing."""
    guest.faults[THAW] += [faults.error("no"), faults.error("no")]
    run = world.service().run("nightly")
    assert (run.state, guest.frozen, guest.believes_frozen) == (State.DONE, set(), True)
    assert [s.figures["way"] for s in run.steps if s.action is Action.CONFIRM and s.outcome is Outcome.DONE] == [
        Way.LIBVIRT
    ]
    guest.calls.clear()
    second.calls.clear()
    return run


def freeze(agent: FakeAgent, guest: FakeAgent) -> None:
    """Somebody else freezes by one of the agents."""
    guest.frozen.add("/data")
    agent.believes_frozen = True


def of_thaws(world: World) -> list[Run]:
    runs = [run for run in world.journal.history(10) if run.trigger is Trigger.THAW]
    return [world.journal.run(run.id) for run in runs]


def test_the_next_run_tells_it_and_goes_on(world: World, guest: FakeAgent, left: Run) -> None:
    run = world.service().run("nightly")
    assert run.state is State.DONE
    (told,) = of_thaws(world)
    assert told.state is State.DONE
    assert [s.figures for s in told.steps if s.action is Action.THAW] == [
        {"reason": f"the agent still believed in the freeze of run {left.id}, which was thawed by the second way"},
        {"way": Way.SOCKET, "thawed": 0},
    ]


def test_and_so_does_a_thaw_by_hand_without_force(world: World, guest: FakeAgent, left: Run) -> None:
    assert world.service().thaw("vm").state is State.DONE
    assert not guest.believes_frozen


def test_a_sweep_calls_it_no_foreign_freeze_and_leaves_it(
    world: World, guest: FakeAgent, second: FakeAgent, left: Run
) -> None:
    _, (sighting,) = world.service().sweep()
    assert (sighting.saw, THAW in guest.calls) == (Sight.THAWED, False)
    freeze(second, guest)
    _, (sighting,) = world.service().sweep()
    assert sighting.saw is Sight.FOREIGN


def test_it_is_remembered_while_the_agent_is_away(world: World, guest: FakeAgent, left: Run) -> None:
    """Runs that never came as far as the agent say nothing about it."""
    guest.faults[STATUS] += [faults.error("not now")] * 50
    assert world.service().run("nightly").state is State.FAILED
    guest.faults[STATUS].clear()
    assert world.service().run("nightly").state is State.DONE


def test_a_freeze_by_the_second_way_is_somebody_elses(
    world: World, guest: FakeAgent, second: FakeAgent, left: Run
) -> None:
    freeze(second, guest)
    assert world.service().run("nightly").state is State.REFUSED
    with pytest.raises(FrozenByOther):
        world.service().thaw("vm")
    assert (guest.frozen, THAW in guest.calls, THAW in second.calls) == ({"/data"}, False, False)


def test_a_second_way_that_says_nothing_leaves_it_uncertain(
    world: World, guest: FakeAgent, second: FakeAgent, left: Run
) -> None:
    second.faults[STATUS] += [faults.error("no")] * 50
    assert world.service().run("nightly").state is State.REFUSED
    assert THAW not in guest.calls


def hear_it_thawed(world: World) -> None:
    """A run in which the agent says that it is thawed."""
    assert world.service().run("nightly").state is State.DONE


def be_another_host(world: World) -> None:
    world.owner = type(world.owner)(**{**vars(world.owner), "host": "elsewhere"})


@pytest.mark.parametrize("since", [hear_it_thawed, be_another_host])
def test_what_the_journal_does_not_explain_is_left_alone(
    world: World, guest: FakeAgent, left: Run, since: Callable[[World], None]
) -> None:
    since(world)
    freeze(guest, guest)
    guest.calls.clear()
    assert world.service().run("nightly").state is State.REFUSED
    assert (guest.frozen, THAW in guest.calls) == ({"/data"}, False)


def test_a_freeze_after_a_thaw_by_its_own_way_is_somebody_elses(
    world: World, guest: FakeAgent, second: FakeAgent
) -> None:
    hear_it_thawed(world)
    freeze(guest, guest)
    guest.calls.clear()
    assert world.service().run("nightly").state is State.REFUSED
    assert (guest.frozen, THAW in guest.calls) == ({"/data"}, False)


def test_a_freeze_let_go_on_an_operators_word_is_no_leftover(
    world: World, guest: FakeAgent, second: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has seen that guest thawed."""
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.3)
    guest.faults[THAW] += [faults.error("no")] * 100
    second.faults[THAW] += [faults.error("no")] * 100
    assert world.service(thaw_timeout=0.5).run("nightly").state is State.STUCK
    assert world.service().thaw("vm", force=True, reason="it was reset").state is State.RECOVERED
    guest.faults.clear()
    second.faults.clear()
    assert world.service().run("nightly").state is State.REFUSED
    assert guest.frozen == {"/", "/data"}
