"""Which open runs are for recovery: those on which nobody works, and no others."""

import threading

import pytest

from orchestrator.clock import SystemClock, Task
from orchestrator.errors import JournalUnavailable, MachineBusy
from orchestrator.model import Consistency, State
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

THAW = "guest-fsfreeze-thaw"


def fails(error: BaseException) -> None:
    raise error


def tell_and_wait(reached: threading.Event, go_on: threading.Event) -> None:
    reached.set()
    assert go_on.wait(30)


def test_a_stuck_guest_does_not_give_the_other_guests_of_its_living_run_away(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.5)
    stuck, slow = world.add_guest("stuck"), world.add_guest("slow")
    stuck.faults[THAW].extend([faults.error("no")] * 1000)
    cutting, go_on = threading.Event(), threading.Event()
    world.storages["slow"].before["cut"].append(lambda: tell_and_wait(cutting, go_on))
    service = world.service(thaw_timeout=0.3, hold_limit=20)
    task = Task(SystemClock(), "run", lambda: service.run("nightly"))
    assert cutting.wait(10)
    while world.journal.open_runs()[0].target("stuck").state is not State.STUCK:
        SystemClock().sleep(0.05)

    service.recover()  # by the service itself, as it does every minute
    assert slow.frozen and THAW not in slow.calls
    with pytest.raises(MachineBusy):
        world.service().thaw("slow")
    go_on.set()
    task.join()
    run = task.result()
    assert (run.target("slow").state, run.target("slow").consistency) == (State.DONE, Consistency.FILESYSTEM)

    stuck.faults[THAW].clear()
    (run,) = service.recover()
    assert not stuck.frozen
    assert run.target("stuck").state is State.RECOVERED
    assert "died" not in (run.error or "")


def test_a_service_settles_its_own_run_that_the_journal_did_not_take(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.journal.move

    def move(*arguments: object) -> None:
        if THAW in guest.calls:
            raise JournalUnavailable("gone")
        real(*arguments)  # type: ignore[arg-type]

    service = world.service()
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.writing.PATIENCE", 0.3)
        patch.setattr(world.journal, "move", move)
        with pytest.raises(JournalUnavailable):
            service.run("nightly")

    (run,) = service.recover()
    assert run.state is State.RECOVERED
    assert "died" not in (run.error or "")
    assert service.run("nightly").state is State.DONE


def test_a_run_that_a_service_works_on_is_not_abandoned(world: World, guest: FakeAgent) -> None:
    service = world.service(hold_limit=20)
    world.storages["vm"].before["cut"].append(lambda: recovered.extend(service.recover()))
    recovered: list[object] = []

    assert service.run("nightly").state is State.DONE
    assert recovered == []


def test_a_recovery_that_lost_its_journal_is_made_up_for_by_the_same_service(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.transaction.Window.run", lambda _: fails(SystemExit()))
        with pytest.raises(SystemExit):
            world.service().run("nightly")
    world.die()
    guest.frozen, guest.believes_frozen = {"/"}, True
    service = world.service()
    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "move", lambda *_: fails(JournalUnavailable("gone")))
        with pytest.raises(JournalUnavailable):
            service.recover()

    (run,) = service.recover()
    assert run.state is State.RECOVERED
