"""`quiesce agent MACHINE ...` on real guests of both forms: with the agent there, absent, mute, and frozen."""

import json
from datetime import UTC, datetime

import pytest

from tests.acceptance.product import Product
from tests.lab import Guest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_questions_are_answered_and_in_the_history(product: Product, vm: Guest) -> None:
    answers = {}
    for question in ("ping", "info", "osinfo", "fsinfo", "users", "time", "hostname", "interfaces"):
        ended = product("agent", "vm", question, "--json")
        assert (ended.code, ended.err) == (0, ""), question
        assert ended.document.keys() == {"machine", "question", "run", "answer"}
        answers[question] = ended.document["answer"]
    assert answers["ping"] == {"answers": True}
    assert "guest-fsfreeze-freeze" in answers["info"]["enabled"]
    assert answers["osinfo"]["id"] == "quiesce-lab"
    assert {each["mountpoint"]: each["type"] for each in answers["fsinfo"]} == {"/data": "ext4", "/xfs": "xfs"}
    assert abs((datetime.fromisoformat(answers["time"]["time"]) - datetime.now(UTC)).total_seconds()) < 3600
    assert "lo" in [each["name"] for each in answers["interfaces"]]
    assert len(product.history("--state", "done")) == 8

    ended = product("agent", "vm", "hostname")
    assert ended.out == f"hostname machine=vm hostname={answers['hostname']['hostname']}\n"


def test_a_program_runs_in_the_guest(product: Product, guest: Guest) -> None:
    script = "echo out; echo err >&2; exit 7"
    ended = product("agent", "vm", "exec", "--", "/bin/sh", "-c", script)
    assert (ended.code, ended.out, ended.err) == (7, "out\n", "err\n")
    ended = product("agent", "vm", "exec", "--json", "/bin/sh", "-c", script)
    assert (ended.code, ended.document["exit_code"]) == (7, 7)
    assert (ended.document["output"], ended.document["error_output"]) == ("out\n", "err\n")
    run = product("show", ended.document["run"], "--json").run
    figures = run["steps"][-1]["figures"]
    assert (figures["program"], figures["arguments"], figures["exit_code"]) == ("/bin/sh", ["-c", script], 7)
    assert "@" in figures["by"]

    ended = product("agent", "vm", "exec", "--timeout", "1s", "--", "/bin/sleep", "1234")
    assert (ended.code, ended.out.count("state=failed")) == (1, 2)
    assert "/bin/sleep was killed: it did not end within 1 s" in ended.err
    assert guest.run("pidof sleep").output == ""


def test_raw_sends_what_freezes_nothing(product: Product, vm: Guest) -> None:
    ended = product("agent", "vm", "raw", json.dumps({"execute": "guest-get-timezone"}), "--json")
    assert (ended.code, ended.document["answer"]["offset"]) == (0, 0)
    assert "warning" in ended.err
    ended = product("agent", "vm", "raw", '{"execute": "guest-fsfreeze-\\u0066reeze"}')
    assert ended.code == 2
    assert "guest-fsfreeze-freeze is not sent by hand" in ended.err
    assert not vm.fs_frozen()
    assert product("agent", "vm", "trim", "--json").document["question"] == "trim"


def test_a_frozen_guest_answers_two_questions_and_does_nothing_else(product: Product, vm: Guest) -> None:
    vm.agent("guest-fsfreeze-freeze")
    assert product("agent", "vm", "ping").code == product("agent", "vm", "info").code == 0
    ended = product("agent", "vm", "users")
    assert ended.code == 1
    assert "frozen" in ended.err
    for words in (["exec", "/bin/true"], ["raw", '{"execute": "guest-ping"}'], ["trim"]):
        ended = product("agent", "vm", *words)
        assert (ended.code, "the guest's file systems are frozen" in ended.err) == (5, True)
    assert vm.frozen_mounts() == ["/data", "/xfs"]


@pytest.mark.soak
def test_an_agent_that_is_absent_or_mute_is_said(product: Product, guest: Guest) -> None:
    guest.stop_agent()
    mute = product("agent", "vm", "ping", "--json")
    guest.cont_agent()
    guest.kill_agent()
    absent = product("agent", "vm", "exec", "/bin/true")
    guest.start_agent()
    assert (mute.code, mute.document["error"]["kind"], absent.code) == (1, "Unreachable", 1)
    assert "agent" in mute.err
    assert "agent" in absent.err
    assert product.states() == ["failed", "failed"]
