"""Running a program in the guest: two commands, and one outcome."""

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.errors import CommandDisabled, OutcomeUnknown, Rejected
from orchestrator.model import ExecResult
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.fakes.deadlines import later, soon
from tests.fakes.faults import Fault

EXEC, STATUS = "guest-exec", "guest-exec-status"


def test_the_end_is_waited_for(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.programs["/bin/sync"] = ExecResult(1, b"out", b"err")
    guest.faults[STATUS] += [faults.answer({"exited": False})] * 2
    assert agent.execute("/bin/sync", ["-f", "/data"], later()) == ExecResult(1, b"out", b"err")
    assert guest.executed == [("/bin/sync", ["-f", "/data"])]
    assert guest.calls == [EXEC, STATUS, STATUS, STATUS]


@pytest.mark.parametrize(
    "fault",
    [
        faults.reply_lost(),
        faults.error(),
        faults.error(kind="CommandNotFound"),
        faults.disconnect(effect=False),
        faults.answer({"exited": 1}),
        faults.answer({"exited": False}),
    ],
)
def test_once_it_was_started_its_outcome_is_known_or_unknown(guest: FakeAgent, agent: GuestAgent, fault: Fault) -> None:
    agent.sync(later())
    guest.faults[STATUS] += [fault] * 100
    with pytest.raises(OutcomeUnknown, match="/bin/sync was started"):
        agent.execute("/bin/sync", [], soon())
    assert guest.executed == [("/bin/sync", [])]


def test_what_was_not_started_is_no_unknown(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.faults[EXEC].append(faults.error("Failed to execute child process"))
    with pytest.raises(Rejected, match="Failed to execute"):
        agent.execute("/bin/sync", [], later())
    guest.disabled.add(EXEC)
    with pytest.raises(CommandDisabled):
        agent.execute("/bin/sync", [], later())
    assert guest.executed == []
