"""The channel through libvirt: what libvirt's words mean for the outcome of a command."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.libvirt import LibvirtChannel
from orchestrator.clock import Deadline
from orchestrator.errors import CallError, CommandDisabled, OutcomeUnknown, Rejected, Unreachable
from tests.fakes.deadlines import later

SYNC, FREEZE, THAW = "guest-sync", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


def answered(value: Any) -> Callable[[], str]:
    return lambda: json.dumps({"return": value})


def raised(error: CallError) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


@dataclass
class ScriptedDomain:
    """A domain whose agent answers what the test says, and a sync by its identity."""

    script: list[Callable[[], str]] = field(default_factory=list)
    sync_script: list[Callable[[], str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    resets: int = 0

    def agent_command(self, command: str, deadline: Deadline) -> str:
        request = json.loads(command)
        self.calls.append(request["execute"])
        if request["execute"] != SYNC:
            return self.script.pop(0)()
        return self.sync_script.pop(0)() if self.sync_script else answered(request["arguments"]["id"])()

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.resets += 1


@pytest.fixture
def domain() -> ScriptedDomain:
    return ScriptedDomain()


@pytest.fixture
def agent(domain: ScriptedDomain) -> GuestAgent:
    return GuestAgent(LibvirtChannel(domain))


def test_in_step_a_command_is_one_call(domain: ScriptedDomain, agent: GuestAgent) -> None:
    domain.script = [answered(2), answered(2)]
    assert agent.freeze([], later()) == 2
    assert agent.thaw(later()) == 2
    assert domain.calls == [SYNC, FREEZE, THAW]


@pytest.mark.parametrize("error", [Rejected("no"), OutcomeUnknown("late"), Unreachable("gone")])
def test_when_the_sync_fails_nothing_was_sent(domain: ScriptedDomain, agent: GuestAgent, error: CallError) -> None:
    domain.sync_script = [raised(error)]
    with pytest.raises(Unreachable):
        agent.freeze([], later())
    assert domain.calls == [SYNC]


@pytest.mark.parametrize("reply", [answered(-1), answered(True), lambda: "garbage", lambda: "[" * 100_000])
def test_a_sync_that_answers_something_else_has_failed(
    domain: ScriptedDomain, agent: GuestAgent, reply: Callable[[], str]
) -> None:
    domain.sync_script = [reply]
    with pytest.raises(Unreachable, match="out of step"):
        agent.freeze([], later())
    assert domain.calls == [SYNC]


@pytest.mark.parametrize(
    "bad",
    [raised(OutcomeUnknown("late")), raised(Unreachable("busy")), lambda: "garbage", answered("2"), answered(-1)],
)
def test_after_any_doubt_the_next_command_syncs_first(
    domain: ScriptedDomain, agent: GuestAgent, bad: Callable[[], str]
) -> None:
    domain.script = [bad, answered(1)]
    with pytest.raises((OutcomeUnknown, Unreachable)):
        agent.freeze([], later())
    assert agent.thaw(later()) == 1
    assert domain.calls == [SYNC, FREEZE, SYNC, THAW]


@pytest.mark.parametrize("kind", [Rejected, CommandDisabled])
def test_an_agents_error_leaves_the_channel_in_step(
    domain: ScriptedDomain, agent: GuestAgent, kind: type[CallError]
) -> None:
    domain.script = [raised(kind("no")), answered(0)]
    with pytest.raises(kind):
        agent.freeze([], later())
    agent.thaw(later())
    assert domain.calls == [SYNC, FREEZE, THAW]


def test_reset_and_close_reach_the_domain(domain: ScriptedDomain, agent: GuestAgent) -> None:
    domain.script = [answered({}), answered({})]
    agent.ping(later())
    agent.reset()
    agent.ping(later())
    agent.close()
    assert domain.calls == [SYNC, "guest-ping", SYNC, "guest-ping"]
    assert domain.resets == 2
