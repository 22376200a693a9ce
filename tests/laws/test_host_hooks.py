"""A job's own programs around its runs: outside of the window, bounded, and never in the way of a thaw."""

from pathlib import Path

import pytest

from orchestrator import policy
from orchestrator.clock import Stop
from orchestrator.model import Action, Outcome, Run, State
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

SCRIPT = """#!/bin/sh
env | grep ^QUIESCE_ | sort >"$0.$QUIESCE_MACHINE.$QUIESCE_STATE"
printf '%s' "$2"
exit "$1"
"""


class Hook:
    """A program that writes down what it was told, says something, and ends with a status."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_text(SCRIPT)
        path.chmod(0o755)

    def ending(self, status: int = 0, saying: str = "") -> tuple[str, ...]:
        return (str(self._path), str(status), saying)

    def told(self, state: State, machine: str = "vm") -> dict[str, str]:
        """Its environment when the machine's target was in that state."""
        lines = Path(f"{self._path}.{machine}.{state}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path / "hook")


def hooks_of(run: Run) -> list[tuple[object, Outcome]]:
    return [(step.figures["hook"], step.outcome) for step in run.steps if step.action is Action.HOOK]


def test_both_are_told_what_there_is_to_know(world: World, guest: FakeAgent, hook: Hook) -> None:
    run = world.service(before=hook.ending(), after=hook.ending(saying="sent")).run("nightly")
    assert policy.exit_code(run) == 0
    common = {"QUIESCE_RUN": run.id, "QUIESCE_JOB": "nightly", "QUIESCE_MACHINE": "vm", "QUIESCE_MACHINES": "vm"}
    common |= {"QUIESCE_SNAPSHOT": run.snapshot_name, "QUIESCE_ERROR": "", "QUIESCE_PATH": ""}
    before = {**common, "QUIESCE_STATE": "pending", "QUIESCE_CONSISTENCY": "none"}
    after = {**common, "QUIESCE_STATE": "done", "QUIESCE_CONSISTENCY": "filesystem"}
    assert before.items() <= hook.told(State.PENDING).items()
    assert after.items() <= hook.told(State.DONE).items()
    assert hooks_of(run) == [(which, how) for which in ("before", "after") for how in (Outcome.INTENT, Outcome.DONE)]
    assert run.steps[-1].figures == {"hook": "after", "status": 0, "output": "sent"}


def test_neither_runs_inside_the_window(world: World, guest: FakeAgent, hook: Hook) -> None:
    run = world.service(before=hook.ending(), after=hook.ending()).run("nightly")
    actions = [step.action for step in run.steps if step.outcome is not Outcome.INTENT]
    first, last = (index for index, action in enumerate(actions) if action is Action.HOOK)
    assert first < actions.index(Action.PREPARE) < actions.index(Action.FREEZE)
    assert last > actions.index(Action.CONFIRM)


def test_a_before_that_fails_fails_the_run_and_the_guest_is_untouched(
    world: World, guest: FakeAgent, hook: Hook
) -> None:
    run = world.service(before=hook.ending(3, "the tape is full"), after=hook.ending()).run("nightly")
    assert (run.state, policy.exit_code(run)) == (State.FAILED, 1)
    assert run.error is not None
    assert "ended with status 3; it said: the tape is full" in run.error
    assert not {Action.PREPARE, Action.FREEZE} & {step.action for step in run.steps}
    assert "the tape is full" in hook.told(State.FAILED)["QUIESCE_ERROR"]


def test_an_after_that_fails_leaves_the_snapshot_and_is_told(world: World, guest: FakeAgent, hook: Hook) -> None:
    run = world.service(after=hook.ending(1, "no route to host")).run("nightly")
    assert (run.state, policy.exit_code(run)) == (State.DONE, 1)
    assert world.storages["vm"].snapshots == {run.snapshot_name}
    assert run.steps[-1].error is not None
    assert "no route to host" in run.steps[-1].error


def test_output_is_bounded(world: World, guest: FakeAgent) -> None:
    run = world.service(after=("/bin/sh", "-c", "yes | head -c 1000000; echo end")).run("nightly")
    output = run.steps[-1].figures["output"]
    assert output.endswith("end")
    assert len(output) <= 4096


def test_one_that_is_missing_or_hangs_is_over_in_time(world: World, guest: FakeAgent) -> None:
    missing = world.service(before=("/nowhere/hook",)).run("nightly")
    assert missing.state is State.FAILED
    assert missing.error is not None
    assert "/nowhere/hook cannot be run" in missing.error
    hung = world.service(before=("/bin/sleep", "600"), hook_timeout=0.2).run("nightly")
    assert hung.state is State.FAILED
    assert hooks_of(hung)[-1] == ("before", Outcome.UNKNOWN)


def test_a_wish_to_stop_ends_one(world: World, guest: FakeAgent) -> None:
    stop = Stop()
    run = world.service(after=("/bin/sleep", "600")).run(
        "nightly",
        stop=stop,
        observer=lambda step: stop.request() if step.figures.get("hook") == "after" else None,
    )
    assert (run.state, hooks_of(run)[-1]) == (State.DONE, ("after", Outcome.UNKNOWN))


def test_each_machine_has_its_own(world: World, hook: Hook) -> None:
    for name in ("vm", "other"):
        world.add_guest(name)
    world.service(after=hook.ending()).run("nightly")
    assert {hook.told(State.DONE, name)["QUIESCE_MACHINES"] for name in ("vm", "other")} == {"vm other"}
