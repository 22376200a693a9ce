"""An operator's act on a machine's power: seen from its events, refused while a guest is frozen, never assumed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from orchestrator.acts import PowerAct, PowerMode, PowerRequest, SuspendTarget
from orchestrator.clock import Deadline, Stop
from orchestrator.errors import ConfigError, OutcomeUnknown, Rejected
from orchestrator.model import Action, Outcome, State
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.test_operating import operating

SHUTDOWN = PowerRequest(PowerAct.SHUTDOWN)


@dataclass
class MemorySwitch:
    """A machine's power: what it was asked, and the events that it tells."""

    events: list[str] = field(default_factory=list)
    asked: list[PowerRequest] = field(default_factory=list)
    #: What comes of asking.
    then: Callable[[], None] = lambda: None

    @contextmanager
    def watching(self, act: PowerAct, deadline: Deadline) -> "Iterator[MemorySwitch]":
        self.events.clear()
        yield self

    def wait(self, deadline: Deadline) -> str | None:
        if not self.events:
            deadline.clock.sleep(deadline.remaining())
        return self.events[0] if self.events else None

    def ask(self, request: PowerRequest, deadline: Deadline) -> None:
        self.asked.append(request)
        self.then()

    def close(self) -> None:
        pass


@pytest.fixture
def switch(world: World, guest: FakeAgent) -> MemorySwitch:
    made = world.switches["vm"] = MemorySwitch()
    guest.offer("guest-shutdown", lambda _: made.events.append("SHUTDOWN"))
    guest.offer("guest-suspend-ram", lambda _: made.events.append("SUSPEND"))
    return made


def test_the_agent_s_silence_is_success_when_the_event_comes(
    world: World, guest: FakeAgent, switch: MemorySwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.operating.power._REFUSE", 0.2)
    guest.faults["guest-shutdown"].append(faults.reply_lost())
    run = operating(world).powering.power("vm", SHUTDOWN, 30)
    assert (run.state, exit_code(run), switch.asked) == (State.DONE, 0, [])
    [intent, done] = [step for step in run.steps if step.action is Action.POWER]
    assert intent.figures == {"by": "alice@host", "act": "shutdown", "mode": "default"}
    assert done.figures["seen"] == "SHUTDOWN"


def test_without_the_event_nothing_is_assumed(world: World, guest: FakeAgent, switch: MemorySwitch) -> None:
    run = operating(world).powering.power("vm", PowerRequest(PowerAct.SHUTDOWN, PowerMode.ACPI), 0.2)
    assert (run.state, exit_code(run)) == (State.FAILED, 1)
    assert run.steps[-1].outcome is Outcome.UNKNOWN
    assert "no event of the machine has shown the shutdown: it may still come" in str(run.error)


@pytest.mark.parametrize("error", [Rejected("no"), OutcomeUnknown("lost")])
def test_a_refusal_is_final_and_a_lost_answer_is_not(
    world: World, guest: FakeAgent, switch: MemorySwitch, error: Exception
) -> None:
    def then() -> None:
        switch.events.append("WAKEUP")
        raise error

    switch.then = then
    run = operating(world).powering.power("vm", PowerRequest(PowerAct.WAKEUP), 30)
    assert run.state is (State.FAILED if isinstance(error, Rejected) else State.DONE)
    assert guest.calls == [], "a suspended guest is not asked"


@pytest.mark.parametrize("mode", PowerMode)
def test_a_frozen_guest_keeps_its_power(world: World, guest: FakeAgent, switch: MemorySwitch, mode: PowerMode) -> None:
    guest.frozen, guest.believes_frozen = {"/"}, True
    run = operating(world).powering.power("vm", PowerRequest(PowerAct.REBOOT, mode), 1)
    assert (run.state, switch.asked, guest.frozen) == (State.REFUSED, [], {"/"})
    assert "guest-shutdown" not in guest.calls


def test_without_an_agent_only_the_power_button_is_left(
    world: World, guest: FakeAgent, switch: MemorySwitch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.operating.entries._STATUS", 0.2)
    monkeypatch.setattr("orchestrator.operating.power._THERE", 0.2)
    guest.stop_agent()
    switch.then = lambda: switch.events.append("SHUTDOWN")
    for request in (PowerRequest(PowerAct.SHUTDOWN, PowerMode.AGENT), PowerRequest(PowerAct.SUSPEND)):
        run = operating(world).powering.power("vm", request, 1)
        assert (run.state, "no answer in time" in str(run.error)) == (State.FAILED, True)
    assert operating(world).powering.power("vm", SHUTDOWN, 30).state is State.DONE
    assert switch.asked == [SHUTDOWN]


def test_each_target_of_a_suspension_is_its_own_command(world: World, guest: FakeAgent, switch: MemorySwitch) -> None:
    assert operating(world).powering.power("vm", PowerRequest(PowerAct.SUSPEND), 30).state is State.DONE
    run = operating(world).powering.power("vm", PowerRequest(PowerAct.SUSPEND, target=SuspendTarget.DISK), 30)
    assert "guest-suspend-disk" in str(run.error)


def test_its_user_may_stop_waiting(world: World, guest: FakeAgent, switch: MemorySwitch) -> None:
    stop = Stop()
    stop.request()
    run = operating(world).powering.power("vm", PowerRequest(PowerAct.SHUTDOWN, PowerMode.ACPI), 3600, stop=stop)
    assert run.steps[-1].outcome is Outcome.UNKNOWN


def test_a_machine_that_tells_no_events_is_a_mistake(world: World, guest: FakeAgent) -> None:
    with pytest.raises(ConfigError, match="neither `hypervisor` nor `qmp`"):
        operating(world).powering.power("vm", SHUTDOWN, 1)
