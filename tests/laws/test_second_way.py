"""A machine with two ways to its guest: it is frozen by the first, and thawed by the one that answers."""

import pytest

from orchestrator.model import Action, Consistency, Outcome, State
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.dying import die_before_the_window

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


@pytest.fixture
def second(world: World, guest: FakeAgent) -> FakeAgent:
    """The second agent of the machine `vm`."""
    return world.add_second_way("vm")


def test_while_the_first_way_answers_the_second_is_not_asked(world: World, guest: FakeAgent, second: FakeAgent) -> None:
    assert world.service().run("nightly").state is State.DONE
    assert second.calls == []


def test_a_first_way_that_went_mute_costs_neither_the_thaw_nor_the_proof(
    world: World, guest: FakeAgent, second: FakeAgent
) -> None:
    world.storages["vm"].after["cut"].append(guest.stop_agent)
    run = world.service().run("nightly")

    assert not guest.frozen
    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.FILESYSTEM, 0)
    assert second.calls == [THAW, "guest-fsfreeze-status"]
    counted = [s.figures["thawed"] for s in run.steps if s.action is Action.THAW and s.outcome is Outcome.DONE]
    assert counted == [2]


def test_after_a_freeze_that_was_not_answered_only_its_own_way_confirms(
    world: World, guest: FakeAgent, second: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mute agent has the freeze before it, and obeys when it goes on."""
    monkeypatch.setattr("orchestrator.recovery._STUCK", 3.0)
    late = faults.late()
    guest.faults[FREEZE].append(late)
    run = world.service(freeze_timeout=0.3, thaw_timeout=3).run("nightly")
    assert (run.state, exit_code(run)) == (State.STUCK, 3)
    assert THAW in second.calls

    late.release()
    guest.wait_for(lambda agent: FREEZE in agent.calls)
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
    assert not guest.frozen


def test_recovery_climbs_the_same_ladder(
    world: World, guest: FakeAgent, second: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the freeze was answered died with its process: the second way lets the guest go on, the first settles."""
    monkeypatch.setattr("orchestrator.recovery._STUCK", 3.0)
    die_before_the_window(world, monkeypatch)
    guest.frozen |= {"/", "/data"}
    guest.believes_frozen = True
    guest.stop_agent()
    (run,) = world.service(thaw_timeout=3).recover()
    assert not guest.frozen
    assert run.state is State.STUCK

    guest.cont_agent()
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
