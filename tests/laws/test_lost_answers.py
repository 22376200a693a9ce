"""The journal has written, and its answer is lost: the history says everything once, and blames nobody.

All of these were found by the simulation first.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from orchestrator.errors import JournalUnavailable, Rejected, StuckUnjournaled
from orchestrator.evidence import dangling
from orchestrator.model import Action, Outcome, Quiesce, Run, State, Step
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

THAW = "guest-fsfreeze-thaw"


def fails() -> None:
    raise Rejected("no space left")


def lose_answers(world: World, monkeypatch: pytest.MonkeyPatch, method: str, *calls: int) -> None:
    """Let the answers to these calls, counted from 1, be lost; what they wrote is written."""
    real: Callable[..., Any] = getattr(world.journal, method)
    count = Counter[str]()

    def lossy(*arguments: Any) -> Any:
        answer = real(*arguments)
        count[method] += 1
        if count[method] in calls:
            raise JournalUnavailable("the connection broke")
        return answer

    monkeypatch.setattr(world.journal, method, lossy)


def said_twice(run: Run) -> list[str]:
    """What stands in the history more often than it happened."""
    seen = Counter((step.action, step.outcome, step.monotonic) for step in run.steps)
    return [f"{action} {outcome}" for (action, outcome, _), times in seen.items() if times > 1]


def test_the_verdict_is_not_taken_for_another_processs(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch, "move", 2)
    run = world.service().run("nightly")

    assert run.state is State.DONE
    assert said_twice(run) == []


def test_the_outcomes_are_said_once(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    world.storages["vm"].before["cut"].append(fails)
    lose_answers(world, monkeypatch, "record", 2, 3)
    run = world.service().run("nightly")

    assert run.state is State.FAILED
    assert said_twice(run) == []


def test_intents_that_landed_unheard_are_not_acted_on_and_said_once(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch, "move", 1)
    run = world.service().run("nightly")

    assert (run.state, guest.calls.count(THAW)) == (State.FAILED, 0)
    assert said_twice(run) == []
    assert dangling(run.steps) == []


def test_an_intent_to_cut_without_a_freeze_has_its_outcome_too(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch, "move", 1)
    run = world.service(quiesce=Quiesce.OFF).run("nightly")

    assert [step.outcome for step in run.steps if step.action is Action.CUT] == [Outcome.INTENT, Outcome.FAILED]


def test_an_intent_to_prepare_that_was_not_acted_on_has_its_outcome(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch, "record", 1)
    run = world.service().run("nightly")

    assert [step.outcome for step in run.steps if step.action is Action.PREPARE] == [Outcome.INTENT, Outcome.FAILED]
    assert world.storages["vm"].calls == ["plan", "discard"]


def test_a_run_that_is_done_is_told_when_the_journal_is_back(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(world, monkeypatch, "run", 1, 2)
    assert world.service().run("nightly").state is State.DONE


def test_a_guest_that_may_be_frozen_outranks_a_journal_that_cannot_tell(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.service._JOURNAL", 0.3)
    world.add_guest("a")
    world.add_guest("b").faults[THAW].extend([faults.error("no")] * 1000)
    world.add_guest("c")
    lose_answers(world, monkeypatch, "run", *range(1, 100))
    with pytest.raises(StuckUnjournaled, match="b may still be frozen"):
        world.service(thaw_timeout=0.5).run("nightly")


def test_a_guest_that_may_be_frozen_outranks_another_whose_run_the_journal_did_not_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.add_guest("a").faults[THAW].extend([faults.error("no")] * 1000)
    world.add_guest("b")
    real = world.journal.record

    def record(run: Run, steps: Sequence[Step]) -> None:
        if steps[0].machine == "b":
            raise JournalUnavailable("gone")
        real(run, steps)

    monkeypatch.setattr(world.journal, "record", record)
    with pytest.raises(StuckUnjournaled, match="a may still be frozen"):
        world.service(thaw_timeout=0.5).run("nightly")
