"""What a machine's agent answers, in each form, and a program in the guest that ends as if it ran here."""

import json

import pytest

from orchestrator.model import ExecResult, State
from tests.unit.cli.stub import DONE, Stub, ended, quiesce

USERS = [{"user": "root", "domain": None}, {"user": "\x1b[2Jevil", "domain": "CORP"}]


def test_an_answer_is_a_document_or_lines() -> None:
    stub = Stub(value=USERS)
    document = json.loads(quiesce(stub, "agent", "db1", "users", "--json").stdout)
    assert document == {"machine": "db1", "question": "users", "run": DONE.id, "answer": USERS}
    assert quiesce(stub, "agent", "db1", "users").stdout == (
        "users machine=db1 user=root\nusers machine=db1 user=\\x1b[2Jevil domain=CORP\n"
    )


@pytest.mark.parametrize("value", [None, 3, "x", [], [1], {}, {"a": {"b": [1]}}])
def test_whatever_a_raw_command_returns_is_shown(value: object) -> None:
    for form in ([], ["--json"]):
        result = quiesce(Stub(value=value), "agent", "db1", "raw", '{"execute": "guest-ping"}', *form)
        assert result.exit_code == 0
        assert "warning: a raw command" in result.stderr


@pytest.mark.parametrize(
    ("exit_code", "code"), [(0, 0), (3, 3), (255, 255), (256, 1), (0xC0000005, 5), (-1, 255), (None, 1)]
)
def test_a_program_s_exit_code_is_passed_on_and_never_becomes_0(exit_code: int | None, code: int) -> None:
    stub = Stub(result=ExecResult(exit_code, b"out\n", b"err\n"))
    result = quiesce(stub, "agent", "db1", "exec", "--timeout", "5m", "--", "ls", "-l", "--json")
    assert stub.asked[-1] == ("db1", "ls", "-l", "--json", 300.0)
    assert (result.exit_code, result.stdout) == (code, "out\n")
    assert result.stderr.startswith("err\n")


def test_a_program_that_was_not_run_is_an_error() -> None:
    refused = ended(State.REFUSED, "run r1 is open on this machine")
    result = quiesce(Stub(runs=(refused,)), "agent", "db1", "exec", "ls")
    assert result.exit_code == 5
    assert "REFUSED db1: run r1 is open on this machine" in result.stderr
    for never in ("5", "0s"):
        assert quiesce(Stub(), "agent", "db1", "exec", "--timeout", never, "ls").exit_code == 2
