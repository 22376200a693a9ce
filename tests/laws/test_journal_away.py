"""A guest that may be frozen, and no journal to tell it to: then the error says it, whoever thawed."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orchestrator.errors import JournalError, JournalUnavailable, StuckUnjournaled, Superseded
from orchestrator.model import Outcome, Run, State, Step, Target
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

THAW = "guest-fsfreeze-thaw"


def fails(error: BaseException) -> None:
    raise error


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for constant in ("writing.PATIENCE", "service._JOURNAL", "by_hand._JOURNAL", "by_hand._THAW", "recovery._STUCK"):
        monkeypatch.setattr(f"orchestrator.{constant}", 0.5)


def not_the_end(world: World, error: JournalError) -> Callable[[Run, Target, Sequence[Step]], None]:
    """A move that fails when the window is over."""
    real = world.journal.move

    def move(run: Run, target: Target, steps: Sequence[Step]) -> None:
        if target.state is not State.RUNNING:
            raise error
        real(run, target, steps)

    return move


@pytest.mark.parametrize("error", [JournalUnavailable("gone"), JournalError("the steps cannot be written")])
def test_a_stuck_guest_is_told_although_the_journal_does_not_take_it(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, error: JournalError
) -> None:
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    monkeypatch.setattr(world.journal, "move", not_the_end(world, error))
    with pytest.raises(StuckUnjournaled, match="vm may still be frozen"):
        world.service(thaw_timeout=0.3).run("nightly")


@pytest.mark.parametrize("group", [True, False])
def test_a_stuck_guest_is_told_before_a_thawed_one(world: World, monkeypatch: pytest.MonkeyPatch, group: bool) -> None:
    world.add_guest("a")
    world.add_guest("b").faults[THAW].extend([faults.error("no")] * 1000)
    monkeypatch.setattr(world.journal, "move", not_the_end(world, JournalUnavailable("gone")))
    with pytest.raises(StuckUnjournaled, match="b may still be frozen"):
        world.service(thaw_timeout=0.3, group=group).run("nightly")


def test_a_thaw_by_hand_tells_it_too(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    guest.frozen, guest.believes_frozen = {"/"}, True
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    monkeypatch.setattr(world.journal, "move", not_the_end(world, JournalUnavailable("gone")))
    with pytest.raises(StuckUnjournaled, match="vm may still be frozen"):
        world.service().thaw("vm", force=True)


def test_a_thaw_by_hand_waits_for_the_journal(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    real, away = world.journal.move, [JournalUnavailable("gone")]

    def move(*arguments: Any) -> None:
        if THAW in guest.calls and away:
            raise away.pop()
        real(*arguments)

    monkeypatch.setattr(world.journal, "move", move)
    assert world.service().thaw("vm", force=True).state is State.DONE


def test_recovery_tells_it_too(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.transaction.Window.run", lambda _: fails(SystemExit()))
        with pytest.raises(SystemExit):
            world.service(thaw_timeout=0.3).run("nightly")
    world.die()
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    monkeypatch.setattr(world.journal, "move", not_the_end(world, JournalUnavailable("gone")))
    with pytest.raises(StuckUnjournaled, match="vm may still be frozen"):
        world.service().recover()


def test_a_run_that_another_process_has_taken_ends_as_the_journal_says(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.journal, "move", not_the_end(world, Superseded("taken")))
    assert world.service().run("nightly").state is State.RUNNING


def test_a_move_whose_answer_was_lost_has_landed(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, away = world.journal.move, [JournalUnavailable("the answer to the commit was lost")]

    def move(*arguments: Any) -> None:
        real(*arguments)
        if THAW in guest.calls and away:
            raise away.pop()

    monkeypatch.setattr(world.journal, "move", move)
    run = world.service().run("nightly")
    assert run.state is State.DONE
    assert sum(step.outcome is Outcome.INTENT for step in run.steps) == 4
