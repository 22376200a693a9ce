"""Windows freezes slowly, lets go by itself after ten seconds, and answers the thaw after that with an error."""

import threading
from dataclasses import replace

import pytest

from orchestrator.model import Action, Consistency, Quiesce, State
from tests.fakes import faults
from tests.fakes.agent import WINDOWS, FakeAgent
from tests.laws.conftest import World, how
from tests.laws.dying import die_before_the_window

FREEZE, THAW, STATUS, OS = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status", "guest-get-osinfo"
TOO_LATE = "couldn't hold writes: fsfreeze is limited up to 10 seconds"
#: How a required run ends whose guest let go by itself: thawed, and not what was asked.
CRASH = (State.FAILED, Consistency.CRASH, 1)


@pytest.fixture
def windows(guest: FakeAgent) -> FakeAgent:
    guest.system = WINDOWS
    return guest


def guarded(world: World, **job: object) -> list[tuple[float | None, bool]]:
    """What the guard was told in a run, until the cut."""
    told: list[tuple[float | None, bool]] = []
    world.storages["vm"].before["cut"].append(lambda: told.extend(*world.guard.armed.values()))
    assert how(world.service(**job).run("nightly")) == (State.DONE, Consistency.FILESYSTEM, 0)
    return told


def test_it_has_a_minute_to_freeze_and_is_held_for_nine_seconds(world: World, windows: FakeAgent) -> None:
    assert guarded(world, freeze_timeout=2, hold_limit=20) == [(60, False), (9, True)]
    (run,) = world.service().history(1)
    checked = world.service().show(run.id).steps[0]
    assert (checked.figures["freeze_timeout"], checked.figures["hold_limit"]) == (60, 9), "the history says so"
    assert guarded(world, freeze_timeout=90, hold_limit=2) == [(90, False), (2, True)]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("trouble", [None, faults.error("no"), faults.answer({"id": ["mswindows"]}), faults.answer({})])
def test_any_other_guest_has_the_limits_of_its_job(
    world: World, guest: FakeAgent, trouble: faults.Fault | None
) -> None:
    guest.faults[OS].extend([trouble] * 100 if trouble else [])
    assert guarded(world, freeze_timeout=2, hold_limit=20) == [(2, False), (20, True)]


def test_an_agent_that_does_not_know_the_question_is_no_windows(world: World, guest: FakeAgent) -> None:
    guest.disabled.add(OS)
    assert guarded(world, freeze_timeout=2, hold_limit=20) == [(2, False), (20, True)]


def test_the_hold_is_ended_in_time_whatever_the_job_allows(
    world: World, windows: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.policy._VSS_HOLD", 0.3)
    thawed = threading.Event()

    def hang() -> None:
        windows.wait_for(lambda guest: THAW in guest.calls and not guest.frozen, 30)
        thawed.set()

    world.storages["vm"].before["cut"].append(hang)
    assert how(world.service(hold_limit=600).run("nightly")) == CRASH
    assert thawed.is_set()


@pytest.mark.parametrize("quiesce", [Quiesce.REQUIRED, Quiesce.PREFERRED])
def test_one_that_let_go_by_itself_is_thawed_and_its_cut_not_proven(
    world: World, windows: FakeAgent, quiesce: Quiesce
) -> None:
    """It goes on saying `frozen` until it is to thaw, and answers that with an error."""
    said = []

    def let_go() -> None:
        windows.lose_hold()
        said.append(windows.believes_frozen)

    world.storages["vm"].before["cut"].append(let_go)
    run = world.service(quiesce=quiesce).run("nightly")
    assert how(run) == (CRASH if quiesce is Quiesce.REQUIRED else (State.DONE, Consistency.CRASH, 4))
    assert said == [True] and windows.calls.count(THAW) == 1
    assert "found only 0 still frozen" in (run.error or "")
    assert any(TOO_LATE in (step.error or "") for step in run.steps if step.action is Action.THAW)


def test_a_thaw_that_only_ever_errs_is_confirmed_by_an_agent_that_says_thawed(world: World, windows: FakeAgent) -> None:
    windows.faults[THAW].extend([replace(faults.error(TOO_LATE), effect=True)] * 1000)
    assert how(world.service(thaw_timeout=0.5).run("nightly")) == CRASH


def test_one_that_goes_on_saying_frozen_is_stuck(world: World, windows: FakeAgent) -> None:
    windows.faults[THAW].extend([faults.error(TOO_LATE)] * 1000)
    assert world.service(thaw_timeout=0.5).run("nightly").state is State.STUCK


def test_no_other_guest_is_believed_so(world: World, guest: FakeAgent) -> None:
    """The status is the agent's belief. Only of Windows is it known that nothing stays frozen."""
    guest.faults[THAW].extend([faults.error("busy")] * 1000)
    guest.faults[STATUS].extend([faults.Fault(), faults.Fault(), *[faults.answer("thawed")] * 1000])
    assert world.service(thaw_timeout=0.5).run("nightly").state is State.STUCK


def test_a_lower_count_is_no_proof(world: World, windows: FakeAgent) -> None:
    world.storages["vm"].before["cut"].append(lambda: windows.thaw_by_hand("/data"))
    assert how(world.service().run("nightly")) == CRASH


def test_recovery_settles_one_that_let_go_while_nobody_was_there(
    world: World, windows: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_before_the_window(world, monkeypatch)
    windows.frozen, windows.believes_frozen = {"/", "/data"}, True
    windows.lose_hold()
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
    assert not windows.believes_frozen
