"""What is said when something went wrong, and which exit code tells it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.errors import (
    ConfigError,
    JournalUnavailable,
    MachineBusy,
    NotFound,
    QuiesceError,
    StuckUnjournaled,
    Unreachable,
)
from orchestrator.model import Action, Consistency, Machine, Outcome, Sight, Sighting, State, Step, Target
from tests.unit.cli.stub import AT, DONE, FREEZE, Stub, ended, quiesce

ALL = (
    ["run", "nightly"],
    ["history"],
    ["show", "2025"],
    ["thaw", "db1"],
    ["recover"],
    ["check"],
    ["machines"],
    ["jobs"],
    ["serve"],
    ["db", "upgrade"],
)


@pytest.mark.parametrize(
    ("run", "code", "said"),
    [
        (
            ended(State.STUCK, "no answer", FREEZE),
            3,
            "STUCK db1: no answer. The guest MAY STILL BE FROZEN. Next: `quiesce thaw db1`;",
        ),
        (ended(State.RUNNING, None, FREEZE), 3, "RUNNING db1: no reason is known. The guest MAY STILL BE FROZEN. "),
        (
            ended(State.FAILED, "the disk is full.", FREEZE),
            1,
            "FAILED db1: the disk is full. The guest is thawed. Next: `quiesce show 20250102-030405-abcdef`",
        ),
        (ended(State.FAILED, "no agent"), 1, "FAILED db1: no agent. The guest was never frozen. Next: "),
        (
            ended(State.FAILED, "x", Step("db1", Action.FREEZE, Outcome.FAILED, AT, 1.0, figures={"sent": False})),
            1,
            "FAILED db1: x. The guest was never frozen. Next: ",
        ),
        (
            ended(State.REFUSED, "held by run x"),
            5,
            "REFUSED db1: held by run x. This run did not freeze the guest. Next: `quiesce check db1`",
        ),
        (ended(State.CANCELLED, "stopped", FREEZE), 1, "CANCELLED db1: stopped. The guest is thawed. Next: "),
    ],
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_run_that_went_wrong_says_what_and_where_and_what_now(run: Any, code: int, said: str, options: Any) -> None:
    result = quiesce(Stub(runs=(run,)), "run", "nightly", *options)

    assert result.exit_code == code
    (line,) = result.stderr.splitlines()
    assert line.startswith(said)


def test_a_lower_consistency_is_told_and_has_its_own_code() -> None:
    target = replace(DONE.targets[0], consistency=Consistency.CRASH, error="nothing was frozen")
    result = quiesce(
        Stub(runs=(replace(DONE, consistency=Consistency.CRASH, targets=(target,)),)), "run", "nightly", "--json"
    )

    assert result.exit_code == 4
    assert result.stderr.startswith("DONE db1: nothing was frozen. The guest is thawed. Next: `quiesce show")


@pytest.mark.parametrize("arguments", [["history"], ["recover"]])
def test_stuck_comes_first_and_is_loud(arguments: list[str]) -> None:
    stuck = replace(ended(State.STUCK, "no answer"), id="stuck-one")
    result = quiesce(Stub(runs=(DONE, stuck)), *arguments)

    runs = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("run ")]
    assert runs == ["id=stuck-one", "id=20250102-030405-abcdef"]
    assert "STUCK db1: no answer. The guest MAY STILL BE FROZEN." in result.stderr
    assert result.exit_code == (3 if arguments == ["recover"] else 0)


def test_within_a_run_the_stuck_machine_is_told_first() -> None:
    failed = Target(Machine("web1", agent="/run/web1"), State.FAILED, error="no agent")
    stuck = ended(State.STUCK, "no answer")
    result = quiesce(Stub(runs=(replace(stuck, targets=(failed, *stuck.targets)),)), "run", "nightly")

    assert [line.split()[0] for line in result.stderr.splitlines()] == ["STUCK", "FAILED"]


@pytest.mark.parametrize(
    ("sighting", "code", "told"),
    [
        (Sighting("db1", Sight.THAWED), 0, ""),
        (Sighting("db1", Sight.SILENT, detail="no answer in time"), 0, ""),
        (Sighting("db1", Sight.HELD, "r9", "host/boot/1/1"), 0, ""),
        (Sighting("db1", Sight.FOREIGN), 5, "FOREIGN db1: frozen, and by no run of this journal. It was left so. "),
        (Sighting("db1", Sight.STUCK, "r9"), 3, "STUCK db1: run r9 froze it. The guest MAY STILL BE FROZEN. Next: "),
    ],
)
def test_what_a_sweep_found(sighting: Sighting, code: int, told: str) -> None:
    result = quiesce(Stub(sightings=(Sighting("db2", Sight.OFF), sighting)), "recover", "--all")
    assert result.exit_code == code
    assert result.stderr.startswith(told)
    assert bool(result.stderr) is bool(told)
    assert f"machine machine=db1 saw={sighting.saw}" in result.stdout


def test_a_stuck_guest_outranks_a_foreign_freeze_and_is_told_once() -> None:
    run = ended(State.STUCK, "no answer", FREEZE)
    sightings = (Sighting("db3", Sight.OFF), Sighting("db2", Sight.FOREIGN), Sighting("db1", Sight.STUCK, run.id))
    result = quiesce(Stub(runs=(run,), sightings=sightings), "recover", "--all")
    assert result.exit_code == 3
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["STUCK db1", "FOREIGN db2"]
    seen = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("machine ")]
    assert seen == ["machine=db1", "machine=db2", "machine=db3"]


@pytest.mark.parametrize("words", [["--reason", "reset"], ["--force", "--reason", " "]])
def test_a_reason_goes_with_force(words: list[str]) -> None:
    stub = Stub()
    result = quiesce(stub, "thaw", "db1", *words)
    assert (result.exit_code, stub.asked) == (2, [])
    assert "--reason TEXT goes with --force" in result.stderr


def test_what_an_operator_gave_their_word_for_is_not_called_thawed() -> None:
    word = replace(FREEZE, action=Action.CONFIRM, outcome=Outcome.UNKNOWN, figures={"by": "operator", "reason": "gone"})
    result = quiesce(Stub(runs=(ended(State.RECOVERED, "an operator's word", FREEZE, word),)), "thaw", "db1")
    assert result.exit_code == 0
    assert "RECOVERED db1: an operator's word. That the guest is thawed, or gone, is not proven." in result.stderr


def test_a_thaw_that_settled_a_dead_run_is_a_success() -> None:
    assert quiesce(Stub(runs=(ended(State.RECOVERED, "its process died", FREEZE),)), "thaw", "db1").exit_code == 0
    stuck = ended(State.STUCK, "no answer", FREEZE)
    assert quiesce(Stub(runs=(stuck,)), "thaw", "db1").exit_code == 3
    other = Target(Machine("db2"), State.RECOVERED)
    both = replace(stuck, targets=(*stuck.targets, other))
    assert [quiesce(Stub(runs=(both,)), "thaw", machine).exit_code for machine in ("db1", "db2")] == [3, 0]
    renamed = replace(stuck, state=State.RECOVERED, targets=(other,))
    assert quiesce(Stub(runs=(renamed,)), "thaw", "db1").exit_code == 0


@pytest.mark.parametrize("arguments", [command for command in ALL if command != ["check"]])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a\nb"), 2),
        (NotFound("no such thing"), 2),
        (MachineBusy("held by run x"), 5),
        (JournalUnavailable("disk full"), 1),
        (StuckUnjournaled("disk full; vm may still be frozen"), 3),
        (Unreachable("no socket"), 1),
    ],
)
def test_an_error_has_a_text_a_document_and_a_code(arguments: list[str], error: QuiesceError, code: int) -> None:
    result = quiesce(Stub(error=error), *arguments, "--json")

    assert result.exit_code == code
    kind = type(error).__name__
    assert json.loads(result.stdout) == {"error": {"kind": kind, "message": str(error), "advice": error.advice}}
    expected = [*str(error).splitlines(), error.advice] if error.advice else str(error).splitlines()
    assert result.stderr.splitlines() == [f"quiesce: {line}" for line in expected]
    assert quiesce(Stub(error=error), *arguments).exit_code == code


@pytest.mark.parametrize(("arguments", "code"), [(["history"], 1), (["run", "nightly"], 3), (["serve"], 3)])
def test_a_defect_is_told_in_short_and_with_what_it_may_have_left(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QUIESCE_DEBUG", raising=False)
    short = quiesce(Stub(error=KeyError("x")), *arguments)
    monkeypatch.setenv("QUIESCE_DEBUG", "1")
    long = quiesce(Stub(error=KeyError("x")), *arguments)

    assert (short.exit_code, long.exit_code) == (code, code)
    assert short.stderr.startswith("quiesce: KeyError: 'x'\nquiesce: This is a defect of quiesce. ")
    assert ("`quiesce recover`" in short.stderr) == (code == 3)
    assert "Traceback" not in short.stderr
    assert "Traceback" in long.stderr


@pytest.mark.parametrize(
    "arguments", [["run"], ["frobnicate"], ["history", "--limit", "0"], ["history", "--state", "x"], ["run", "a", "b"]]
)
def test_a_wrong_command_line_is_a_usage_error(arguments: list[str]) -> None:
    stub = Stub()

    result = quiesce(stub, *arguments)

    assert (result.exit_code, result.stdout, stub.asked) == (2, "", [])
    assert "Usage:" in result.stderr
