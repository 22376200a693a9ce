"""The flush as the host sees it: whatever the guest does or says, it ends in time, and is told truly."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator.flush
from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import Stop, SystemClock, Task
from orchestrator.errors import CallError, CommandDisabled, OutcomeUnknown, Rejected, Unreachable
from orchestrator.flush import write_back
from orchestrator.model import ExecResult, PreFlush
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.fakes.deadlines import later, soon
from tests.fakes.faults import Fault

EXEC, STATUS = "guest-exec", "guest-exec-status"
SHELL = "/bin/sh"
RUNS = faults.answer({"exited": False})
SCRIPT = Path(orchestrator.flush.__file__).with_name("guest.sh")


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[FakeAgent]:
    with FakeAgent(tmp_path / "qga.sock") as guest:
        yield guest


@pytest.fixture
def agent(guest: FakeAgent) -> Iterator[GuestAgent]:
    agent = GuestAgent(unix_channel(str(guest.path)))
    yield agent
    agent.close()


@pytest.mark.parametrize("how", [PreFlush.SYNC, PreFlush.GENTLE])
def test_it_runs_the_script_and_tells_what_that_measured(guest: FakeAgent, agent: GuestAgent, how: PreFlush) -> None:
    guest.programs[SHELL] = ExecResult(0, b"before 102400\nafter 12\n", b"")
    guest.faults[STATUS] += [RUNS, RUNS]
    figures = dict(write_back(agent, how, later(), Stop()))
    assert 0 < figures.pop("seconds") < 10
    assert figures == {"how": how.value, "dirty_before_kb": 102400, "dirty_after_kb": 12}
    ((path, arguments),) = guest.executed
    assert (path, arguments[0], arguments[1], arguments[3]) == (SHELL, "-c", SCRIPT.read_text(), how.value)
    assert 1 <= int(arguments[4]) < 20, "the script's own time limit is within ours"


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"before -1\nafter 1e9\n",
        b"before 9999999999999\nafter \xd9\xa3\n",
        b"before 5 \n after 5\nbefore\n",
        b"dirty\n\n\nbefore 5\nafter 5\n",
        b"before 5\rafter 5",
        b"\xff" * 100_000 + b"\n" * 100_000,
    ],
)
def test_figures_that_the_script_does_not_write_are_not_taken(
    guest: FakeAgent, agent: GuestAgent, output: bytes
) -> None:
    guest.programs[SHELL] = ExecResult(0, output, b"noise")
    assert set(write_back(agent, PreFlush.GENTLE, later(), Stop())) == {"how", "seconds"}


@pytest.mark.parametrize(
    ("code", "said"),
    [(2, "may not change"), (3, "another flush"), (1, "ended with 1"), (None, "ended with None")],
)
def test_a_script_that_gave_up_is_a_rejection(guest: FakeAgent, agent: GuestAgent, code: int | None, said: str) -> None:
    guest.programs[SHELL] = ExecResult(code, b"before 5\n", b"")
    with pytest.raises(Rejected, match=said):
        write_back(agent, PreFlush.GENTLE, later(), Stop())


def test_a_guest_without_such_a_shell_is_a_rejection(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.programs[SHELL] = None
    with pytest.raises(Rejected, match="Failed to execute"):
        write_back(agent, PreFlush.GENTLE, later(), Stop())


def test_an_agent_that_forbids_programs_is_told_apart(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.disabled.add(EXEC)
    with pytest.raises(CommandDisabled):
        write_back(agent, PreFlush.GENTLE, later(), Stop())


@pytest.mark.parametrize(
    "fault",
    [faults.error(), faults.error(kind="CommandNotFound"), faults.disconnect(effect=False), faults.garbage(), RUNS],
)
def test_once_it_was_started_it_is_known_or_unknown(guest: FakeAgent, agent: GuestAgent, fault: Fault) -> None:
    agent.sync(later())
    guest.faults[STATUS] += [fault] * 100
    with pytest.raises(OutcomeUnknown, match="the flush was started"):
        write_back(agent, PreFlush.GENTLE, soon(), Stop())


def test_a_mute_agent_holds_nobody_up_until_the_end_of_the_flush(
    guest: FakeAgent, agent: GuestAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.flush._ANSWER", 0.3)
    agent.sync(later())
    guest.faults[STATUS].append(faults.swallowed())
    with pytest.raises(CallError):
        write_back(agent, PreFlush.GENTLE, deadline := later(), Stop())
    assert deadline.remaining() > 15


def test_a_stop_is_heard_while_the_flush_goes_on_and_ends_it(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.faults[STATUS] += [RUNS] * 1000
    stop = Stop()
    task = Task(SystemClock(), "flush", lambda: write_back(agent, PreFlush.GENTLE, later(), stop))
    guest.wait_for(lambda seen: seen.calls.count(STATUS) > 3)
    stop.request()
    assert task.wait(soon()), "a stop takes less than half a second"
    assert task.result()["stopped"] is True
    assert guest.executed[1] == (SHELL, ["-c", 'kill "$1"', "quiesce-flush", "1"])


def test_a_stop_that_cannot_be_passed_on_is_heard_all_the_same(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.faults[STATUS] += [RUNS] * 1000
    guest.faults[EXEC] += [Fault(), faults.error()]
    stop = Stop()
    stop.request()
    assert write_back(agent, PreFlush.GENTLE, later(), stop)["stopped"] is True


def test_without_an_agent_nothing_was_started(tmp_path: Path) -> None:
    agent = GuestAgent(unix_channel(str(tmp_path / "none.sock")))
    with pytest.raises(Unreachable):
        write_back(agent, PreFlush.GENTLE, soon(), Stop())
