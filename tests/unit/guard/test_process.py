"""How a guard is started, and what the orchestrator hears of one that does not come."""

import os
import sys
from pathlib import Path

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.guard import process
from orchestrator.guard.process import Gone, Process, commands
from orchestrator.guard.wire import Release

pytest_plugins = ["tests.fakes.systemd"]

PLAIN = [sys.executable, "-P", "-S", "-m", "orchestrator.guard_main"]


def test_a_service_of_systemd_gives_it_a_scope_of_its_own(systemd_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    scope = [str(systemd_run), "--scope", "--quiet", "--collect", "--"]
    assert commands() == ([*scope, *PLAIN], PLAIN)


def test_a_users_service_asks_the_users_manager(systemd_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert commands()[0][:3] == [str(systemd_run), "--user", "--scope"]


@pytest.mark.parametrize("missing", ["a service", "systemd", "systemd-run"])
def test_without_a_service_it_is_started_plainly(
    systemd_run: Path, monkeypatch: pytest.MonkeyPatch, missing: str, tmp_path: Path
) -> None:
    match missing:
        case "a service":
            monkeypatch.delenv("INVOCATION_ID")
        case "systemd":
            monkeypatch.setattr(process, "_SYSTEMD", tmp_path / "nowhere")
        case "systemd-run":
            monkeypatch.setenv("PATH", str(tmp_path))
    assert commands() == (PLAIN, PLAIN)


def test_one_that_cannot_be_started_says_why() -> None:
    with pytest.raises(Gone, match=r"/nowhere/python: No such file"):
        Process(["/nowhere/python"])


@pytest.mark.parametrize(
    ("script", "why"), [("import nothing_like_it", "ModuleNotFoundError: No module named"), ("pass", "it ended")]
)
def test_one_that_ends_at_once_is_quoted(script: str, why: str) -> None:
    guard = Process([sys.executable, "-c", script])
    with pytest.raises(Gone, match=why):
        guard.hear(Deadline.after(SystemClock(), 20))
    guard.close()
    with pytest.raises(Gone):
        guard.tell(Release(("run", "vm")))


def test_one_that_does_not_answer_is_not_waited_for_long() -> None:
    guard = Process([sys.executable, "-c", "import sys; sys.stdin.read()"])
    with pytest.raises(Gone, match="did not answer in time"):
        guard.hear(Deadline.after(SystemClock(), 0.1))
    guard.kill()
    guard.close()


def test_one_that_does_not_read_is_told_nothing_and_nobody_waits() -> None:
    guard = Process([sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(Gone, match="it takes no message"):
        for number in range(100_000):
            guard.tell(Release(("run", str(number))))
    guard.kill()
    guard.close()
