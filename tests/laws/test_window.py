"""The window itself: whatever fails in this process while guests are frozen, they are let go."""

import time
from collections.abc import Callable

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.clock import SystemClock
from orchestrator.model import Action, Consistency, Outcome, Quiesce, State
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


@pytest.mark.parametrize("thread", ["cut a", "cut b", "guest b"])
def test_a_thread_that_cannot_be_started_keeps_no_guest_frozen(
    world: World, monkeypatch: pytest.MonkeyPatch, thread: str
) -> None:
    guests = [world.add_guest("a"), world.add_guest("b")]
    real = SystemClock.start

    def start(clock: SystemClock, name: str, work: Callable[[], None]) -> None:
        if name == thread:
            guests[0].wait_for(lambda guest: bool(guest.frozen))
            raise RuntimeError("can't start new thread")
        real(clock, name, work)

    monkeypatch.setattr(SystemClock, "start", start)
    service = world.service(group=True, hold_limit=60)
    began = time.monotonic()
    with pytest.raises(RuntimeError):
        service.run("nightly")
    assert not any(guest.frozen for guest in guests)
    assert time.monotonic() - began < 30

    monkeypatch.undo()
    (run,) = service.recover()
    assert run.state is State.RECOVERED


def test_a_guest_is_thawed_also_by_a_thread_that_goes_down(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = GuestAgent.freeze

    def freeze(agent: GuestAgent, *arguments: object) -> int:
        real(agent, *arguments)  # type: ignore[arg-type]
        raise SystemExit

    monkeypatch.setattr(GuestAgent, "freeze", freeze)
    run = world.service().run("nightly")
    assert not guest.frozen
    assert run.state is State.FAILED


def test_a_connection_that_cannot_even_be_dropped_does_not_end_the_thaw(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(_: GuestAgent) -> None:
        monkeypatch.undo()
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(GuestAgent, "reset", reset)
    guest.faults[THAW].append(faults.error("busy"))
    run = world.service().run("nightly")
    assert not guest.frozen
    assert run.state is State.DONE


@pytest.mark.parametrize("quiesce", [Quiesce.OFF, Quiesce.PREFERRED])
def test_a_cut_without_a_freeze_has_all_of_its_time(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, quiesce: Quiesce
) -> None:
    monkeypatch.setattr("orchestrator.window._LATE_CUT", 0.2)
    guest.disabled.add(FREEZE)
    world.storages["vm"].before["cut"].append(lambda: time.sleep(1))
    run = world.service(quiesce=quiesce).run("nightly")

    assert (run.state, run.consistency) == (State.DONE, Consistency.CRASH)
    assert [s.outcome for s in run.steps if s.action is Action.CUT] == [Outcome.INTENT, Outcome.DONE]
    assert "discard" not in world.storages["vm"].calls
