"""The session stays in step with the agent or finds back into it, and tells what may have had effect."""

import json
import time
from collections.abc import Callable

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.session import Session
from orchestrator.agent.wire import MAX_DESCRIPTION
from orchestrator.clock import Deadline, SystemClock
from orchestrator.errors import CommandDisabled, OutcomeUnknown, Rejected, Unreachable
from orchestrator.model import FreezeStatus
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.fakes.deadlines import later, soon
from tests.fakes.faults import Fault

FREEZE, THAW, PING = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-ping"
SYNC = "guest-sync-delimited"

UNANSWERED = {
    "swallowed": faults.swallowed,
    "reply lost": faults.reply_lost,
    "late": faults.late,
    "late reply": faults.late_reply,
    "dripping": lambda: faults.endless(b" "),
}
UNFIT = {
    "garbage": faults.garbage,
    "nested": faults.nested,
    "10 MB of text": lambda: faults.raw(b'{"return": "' + b"x" * 10_000_000 + b'"}\n'),
    "two replies": lambda: faults.raw(b'{"return": 2}\n{"return": 2}\n'),
    "true": lambda: faults.answer(True),
    "a fraction": lambda: faults.answer(2.0),
    "text": lambda: faults.answer("2"),
    "a negative count": lambda: faults.answer(-1),
    "a huge count": lambda: faults.answer(2**31),
    "an object": lambda: faults.answer({}),
}
CUT_OFF = {
    "before the effect": lambda: faults.disconnect(effect=False),
    "after the effect": lambda: faults.disconnect(effect=True),
}


def test_in_step_a_command_costs_one_message(guest: FakeAgent, agent: GuestAgent) -> None:
    agent.sync(later())
    assert agent.freeze([], later()) == 2
    assert agent.thaw(later()) == 2
    with pytest.raises(Rejected):
        guest.faults[FREEZE].append(faults.error())
        agent.freeze([], later())
    agent.ping(later())
    assert guest.syncs == 1


@pytest.mark.parametrize("fault", (UNANSWERED | UNFIT | CUT_OFF).values(), ids=UNANSWERED | UNFIT | CUT_OFF)
def test_without_a_reply_that_fits_the_outcome_is_unknown(
    guest: FakeAgent, agent: GuestAgent, fault: Callable[[], Fault]
) -> None:
    agent.sync(later())
    guest.faults[FREEZE].append(fault())
    with pytest.raises(OutcomeUnknown, match=FREEZE):
        agent.freeze([], soon())
    assert guest.calls == [FREEZE]


@pytest.mark.parametrize("fault", UNFIT.values(), ids=UNFIT)
def test_after_nonsense_the_next_command_gets_its_own_reply(
    guest: FakeAgent, agent: GuestAgent, fault: Callable[[], Fault]
) -> None:
    guest.faults[FREEZE].append(fault())
    with pytest.raises(OutcomeUnknown):
        agent.freeze([], later())
    assert agent.freeze_status(later()) is FreezeStatus.FROZEN
    assert guest.syncs == 2


@pytest.mark.parametrize("fault", [faults.late, faults.late_reply])
def test_a_late_reply_is_not_taken_for_the_answer_to_the_next_command(
    guest: FakeAgent, agent: GuestAgent, fault: Callable[[], Fault]
) -> None:
    late = fault()
    agent.sync(later())
    guest.faults[FREEZE].append(late)
    with pytest.raises(OutcomeUnknown):
        agent.freeze([], soon())
    late.release()
    guest.wait_for(lambda guest: guest.frozen == {"/", "/data"})
    guest.frozen.discard("/data")  # so that the two counts differ
    assert agent.thaw(later()) == 1


def test_while_the_agent_is_still_busy_the_next_command_is_not_sent(guest: FakeAgent, agent: GuestAgent) -> None:
    late = faults.late()
    agent.sync(later())
    guest.faults[FREEZE].append(late)
    with pytest.raises(OutcomeUnknown):
        agent.freeze([], soon())
    with pytest.raises(Unreachable):
        agent.thaw(soon())
    late.release()
    assert agent.thaw(later()) == 2
    assert guest.calls == [FREEZE, THAW]


def test_the_late_reply_to_an_earlier_client_is_discarded(guest: FakeAgent, client: Callable[[], GuestAgent]) -> None:
    earlier, late = client(), faults.late()
    earlier.sync(later())
    guest.faults[FREEZE].append(late)
    with pytest.raises(OutcomeUnknown):
        earlier.freeze([], soon())
    earlier.close()
    late.release()
    guest.wait_for(lambda guest: guest.frozen == {"/", "/data"})
    guest.frozen.discard("/data")
    assert client().thaw(later()) == 1


def test_half_a_command_of_an_earlier_client_does_no_harm(guest: FakeAgent, agent: GuestAgent) -> None:
    agent.ping(later())
    guest.say(b'{"return": {"half": ')
    assert agent.thaw(later()) == 0


def test_what_nobody_asked_for_is_discarded_before_the_next_command(guest: FakeAgent, agent: GuestAgent) -> None:
    agent.ping(later())
    guest.say(b'{"return": 5}\n')
    assert agent.thaw(later()) == 0
    assert guest.syncs == 2


def test_half_a_message_behind_a_reply_does_no_harm(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.faults[FREEZE].append(faults.raw(b'{"return": 2}\n{"half'))
    assert agent.freeze([], later()) == 2
    assert agent.thaw(later()) == 2
    assert guest.syncs == 2


@pytest.mark.parametrize("fault", CUT_OFF.values(), ids=CUT_OFF)
def test_a_cut_connection_is_made_anew(guest: FakeAgent, agent: GuestAgent, fault: Callable[[], Fault]) -> None:
    guest.faults[PING].append(fault())
    with pytest.raises(OutcomeUnknown, match="closed the connection"):
        agent.ping(later())
    agent.ping(later())
    assert guest.syncs == 2


def test_a_connection_that_was_closed_between_calls_is_made_anew_at_once(guest: FakeAgent, agent: GuestAgent) -> None:
    agent.ping(later())
    guest.disconnect()
    agent.ping(later())
    guest.disconnect()
    agent.sync(later())
    assert guest.calls == [PING, PING]
    assert guest.syncs == 3


def test_reset_connects_anew(guest: FakeAgent, agent: GuestAgent) -> None:
    agent.ping(later())
    agent.reset()
    agent.ping(later())
    assert guest.syncs == 2


@pytest.mark.parametrize(
    "fault",
    [
        faults.swallowed(),
        faults.reply_lost(),
        faults.garbage(),
        faults.nested(),
        faults.answer(True),
        faults.answer(12345),
        faults.endless(),
        faults.disconnect(effect=True),
    ],
)
def test_when_the_sync_fails_nothing_is_sent(guest: FakeAgent, agent: GuestAgent, fault: Fault) -> None:
    guest.faults[SYNC].append(fault)
    with pytest.raises(Unreachable, match="another client may hold"):
        agent.freeze([], soon())
    assert guest.calls == []


def test_an_agent_without_the_delimited_sync_is_brought_into_step_too(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.disabled.add(SYNC)
    agent.sync(later())
    late = faults.late_reply()
    guest.faults[FREEZE].append(late)
    with pytest.raises(OutcomeUnknown):
        agent.freeze([], soon())
    guest.wait_for(lambda guest: guest.frozen == {"/", "/data"})
    guest.frozen.discard("/data")
    late.release()
    assert agent.thaw(later()) == 1


def test_an_agent_without_any_sync_cannot_be_used(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.disabled |= {SYNC, "guest-sync"}
    with pytest.raises(Unreachable):
        agent.ping(soon())
    assert guest.syncs == 2
    assert guest.calls == []


class ScriptedTransport:
    """A stream whose other side answers what was sent last by what the test says."""

    def __init__(self, *answers: Callable[[list[int]], bytes]) -> None:
        self._answers = list(answers)
        self._connected = False
        self.sent: list[str] = []
        self.identities: list[int] = []

    def connect(self, deadline: Deadline) -> bool:
        connected, self._connected = self._connected, True
        return not connected

    def send(self, data: bytes, deadline: Deadline) -> None:
        request = json.loads(data.removeprefix(b"\xff"))
        self.sent.append(request["execute"])
        if "arguments" in request:
            self.identities.append(request["arguments"]["id"])

    def receive(self, deadline: Deadline) -> bytes:
        return self._answers.pop(0)(self.identities)

    def arrived(self) -> bytes:
        return b""

    def close(self) -> None:
        self._connected = False


def test_a_refusal_that_was_meant_for_an_earlier_client_does_not_bring_the_sync_out_of_step() -> None:
    transport = ScriptedTransport(
        lambda _: b'{"error": {"class": "CommandNotFound", "desc": "stale"}}\n',
        lambda identities: b'\xff{"return": %d}\n' % identities[0],
        lambda identities: b'{"return": %d}\n' % identities[1],
        lambda _: b'{"return": 2}\n',
    )
    assert GuestAgent(Session(transport)).thaw(later()) == 2
    assert transport.sent == [SYNC, "guest-sync", THAW]


def test_half_a_message_does_not_swallow_the_answer_to_a_sync_without_sentinel() -> None:
    transport = ScriptedTransport(
        lambda identities: b'{"return": %d}\n' % identities[0],
        lambda _: b'{"return": 2}\n{"half',
        lambda identities: b'{"return": %d}\n' % identities[1],
        lambda _: b'{"return": 2}\n',
    )
    agent = GuestAgent(Session(transport))
    assert agent.freeze([], later()) == 2
    assert agent.thaw(later()) == 2


def test_nothing_is_sent_when_no_time_is_left(guest: FakeAgent, agent: GuestAgent) -> None:
    passed = Deadline.after(SystemClock(), 0)
    with pytest.raises(Unreachable, match="no time was left"):
        agent.freeze([], passed)
    agent.sync(later())
    with pytest.raises(Unreachable):
        agent.freeze([], passed)
    agent.ping(later())
    assert guest.calls == [PING]


@pytest.mark.parametrize("piece", [b" ", b"\n", b"x" * 65_536 + b"\n", b'{"return": 5}\n', b"\xff"])
def test_a_peer_that_never_stops_cannot_extend_the_deadline(guest: FakeAgent, agent: GuestAgent, piece: bytes) -> None:
    guest.faults[SYNC].append(faults.endless(piece))
    began = time.monotonic()
    with pytest.raises(Unreachable):
        agent.ping(soon())
    assert time.monotonic() - began < 30


def test_a_second_client_hears_nothing_until_the_first_has_gone(
    guest: FakeAgent, client: Callable[[], GuestAgent]
) -> None:
    first, second = client(), client()
    first.ping(later())
    with pytest.raises(Unreachable, match="another client may hold its channel"):
        second.ping(soon())
    first.close()
    second.ping(later())
    assert guest.calls == [PING, PING]


def test_an_error_of_the_agent_is_told_at_a_bearable_length(guest: FakeAgent, agent: GuestAgent) -> None:
    guest.faults[FREEZE].append(faults.error("x" * 1_000_000))
    with pytest.raises(Rejected) as caught:
        agent.freeze([], later())
    assert not isinstance(caught.value, CommandDisabled)
    assert len(str(caught.value)) < 2 * MAX_DESCRIPTION


@pytest.mark.parametrize("command", ["guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list"])
def test_a_forbidden_command_was_not_carried_out(guest: FakeAgent, agent: GuestAgent, command: str) -> None:
    guest.disabled.add(command)
    with pytest.raises(CommandDisabled, match=command):
        agent.freeze(["/data"] if command.endswith("list") else [], later())
    assert guest.frozen == set()
