"""`quiesce = "preferred"`: whatever stands in the way of the freeze, the cut is made all the same, and told so."""

import pytest

from orchestrator.model import Consistency, Quiesce, State
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

FREEZE, STATUS = "guest-fsfreeze-freeze", "guest-fsfreeze-status"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("group", [True, False])
def test_an_agent_that_goes_mute_before_the_freeze(world: World, group: bool) -> None:
    good, mute = world.add_guest("good"), world.add_guest("mute")
    mute.faults[STATUS].extend([faults.Fault(), *[faults.swallowed()] * 100])
    run = world.service(quiesce=Quiesce.PREFERRED, group=group).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.CRASH, 4)
    assert FREEZE not in mute.calls
    assert run.target("good").consistency is Consistency.FILESYSTEM
    assert "no answer in time" in (run.target("mute").error or "")
    assert not good.frozen


@pytest.mark.usefixtures("impatient")
def test_an_agent_that_goes_mute_before_a_freeze_that_is_required(world: World, guest: FakeAgent) -> None:
    guest.faults[STATUS].extend([faults.Fault(), *[faults.swallowed()] * 100])
    run = world.service().run("nightly")

    assert (run.state, run.consistency) == (State.FAILED, Consistency.NONE)
    assert FREEZE not in guest.calls


def test_a_freeze_that_outlasts_the_hold_of_the_others(world: World) -> None:
    fast, slow = world.add_guest("fast"), world.add_guest("slow")
    slow.faults[FREEZE].append(faults.swallowed())
    run = world.service(quiesce=Quiesce.PREFERRED, group=True, hold_limit=0.3, freeze_timeout=1.5).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.CRASH, 4)
    assert not fast.frozen and not slow.frozen
    assert all(target.consistency is Consistency.CRASH for target in run.targets)
