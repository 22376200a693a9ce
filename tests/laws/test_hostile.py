"""Guests that lie or fight back: every run ends in time, with the guest thawed where it can be, and a true history.

What a guest says of itself can be checked by nothing but what else it says. So a lie may cost the guest its proof, and
never costs us our time, our memory, our terminal, or another guest.
"""

import io
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import documents
from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.agent.wire import MAX_MESSAGE
from orchestrator.cli import failures
from orchestrator.cli.plain import Plain
from orchestrator.cli.screen import Screen
from orchestrator.cli.streams import Stream
from orchestrator.errors import CallError, FrozenByOther
from orchestrator.escape import INVISIBLE
from orchestrator.evidence import dangling
from orchestrator.model import Action, Consistency, Health, Outcome, Run, State
from orchestrator.policy import exit_code
from orchestrator.recorder import Recorder
from orchestrator.thawing import thaw_until_confirmed
from tests.fakes import faults
from tests.fakes.agent import LINUX, FakeAgent
from tests.fakes.clock import SteppedClock
from tests.fakes.faults import Fault
from tests.laws.conftest import World, how

FREEZE, THAW, STATUS = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-status"
INFO, SYSTEM, MOUNTS = "guest-info", "guest-get-osinfo", "guest-get-fsinfo"

GOOD = (State.DONE, Consistency.FILESYSTEM, 0)
CRASH = (State.FAILED, Consistency.CRASH, 1)
FAILED = (State.FAILED, Consistency.NONE, 1)
REFUSED = (State.REFUSED, Consistency.NONE, 5)
STUCK = (State.STUCK, Consistency.CRASH, 3)


def ends(world: World, expected: tuple[State, Consistency, int], **job: object) -> Run:
    """Run the job, see it end so with a thawed guest, and see the history say how all that was intended ended."""
    run = world.service(**job).run("nightly")
    assert how(run) == expected, run.error
    assert world.guests["vm"].frozen == set()
    assert dangling(run.steps) == []
    return run


def in_the_window(world: World, action: Callable[[], None]) -> None:
    """Let something happen between the freeze and the cut."""
    world.storages["vm"].before["cut"].append(action)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For guests that say a lot, on a machine that is busy."""
    monkeypatch.setattr("orchestrator.transaction._PREFLIGHT", 30.0)
    monkeypatch.setattr("orchestrator.thawing._ONE_TRY", 10.0)


# Lies about what is frozen


def test_one_that_says_frozen_while_it_is_thawed_is_refused_until_it_is_thawed_by_force(
    world: World, guest: FakeAgent
) -> None:
    guest.believes_frozen = True
    run = ends(world, REFUSED)
    assert FREEZE not in guest.calls and THAW not in guest.calls
    assert "already frozen" in (run.error or "")
    with pytest.raises(FrozenByOther):
        world.service().thaw("vm")
    assert world.service().thaw("vm", force=True).state is State.DONE
    ends(world, GOOD)


def test_one_that_never_stops_saying_frozen_is_stuck_until_it_does(world: World, guest: FakeAgent) -> None:
    guest.faults[STATUS].extend([Fault(), Fault(), *[faults.answer("frozen")] * 1000])
    run = world.service(thaw_timeout=0.5).run("nightly")
    assert (run.state, exit_code(run)) == (State.STUCK, 3)
    assert "still frozen" in (run.error or "")
    guest.faults[STATUS].clear()
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED


@pytest.mark.parametrize("count", [3, 2**31 - 1])
def test_more_frozen_file_systems_than_there_are_prove_nothing(world: World, guest: FakeAgent, count: int) -> None:
    """Two counts that agree, of which neither can count file systems."""
    guest.faults[FREEZE].append(faults.answer(count))
    guest.faults[THAW].append(faults.answer(count))
    run = ends(world, CRASH)
    assert f"the guest counted {count} frozen file systems, and has 2" in (run.error or "")


@pytest.mark.parametrize(("frozen", "thawed"), [(1, 2), (2, 3), (2, 2**31 - 1), (2, 0)])
def test_two_counts_that_differ_prove_nothing(world: World, guest: FakeAgent, frozen: int, thawed: int) -> None:
    guest.faults[FREEZE].append(faults.answer(frozen))
    guest.faults[THAW].append(faults.answer(thawed))
    ends(world, CRASH)


def test_one_that_only_claims_to_freeze_is_found_out_by_the_count(world: World, guest: FakeAgent) -> None:
    guest.faults[FREEZE].append(faults.answer(2, effect=False))
    ends(world, CRASH)


@pytest.mark.parametrize("listing", [faults.error("no"), faults.answer([{"name": 1}]), faults.garbage()])
def test_one_that_does_not_tell_its_file_systems_is_believed_as_before(
    world: World, guest: FakeAgent, listing: Fault
) -> None:
    guest.faults[MOUNTS].append(listing)
    ends(world, GOOD)


# Replies that nobody asked for, or that never end


def test_replies_to_commands_that_were_never_sent_answer_nothing(world: World, guest: FakeAgent) -> None:
    reply = b'{"return": 7}\n{"return": "thawed"}\n{"return": {}}\n'
    world.storages["vm"].before["prepare"].append(lambda: guest.say(reply))
    in_the_window(world, lambda: guest.say(reply * 1000))
    ends(world, GOOD)


def test_a_second_answer_to_the_freeze_is_not_the_thaws(world: World, guest: FakeAgent) -> None:
    def say_it_again() -> None:
        guest.say(b'{"return": 2}\n')
        guest.thaw_by_hand("/data")

    in_the_window(world, say_it_again)
    run = ends(world, CRASH)
    assert "found only 1 still frozen" in (run.error or "")


def test_two_answers_to_the_freeze_at_once_are_none(world: World, guest: FakeAgent) -> None:
    guest.faults[FREEZE].append(faults.raw(b'{"return": 2}\n{"return": 2}\n'))
    run = ends(world, FAILED)
    assert [s.outcome for s in run.steps if s.action is Action.FREEZE] == [Outcome.INTENT, Outcome.UNKNOWN]


def dripping(text: bytes) -> Fault:
    """A reply that comes byte by byte, too slowly for any deadline here, for as long as somebody listens."""
    never = threading.Event()

    def drops() -> Iterator[bytes]:
        for byte in text:
            yield bytes([byte])
            never.wait(0.1)

    return Fault(instead=drops())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("command", [STATUS, INFO, SYSTEM, MOUNTS, FREEZE, THAW])
@pytest.mark.parametrize("flood", [False, True])
def test_a_reply_that_does_not_end_ends_at_the_deadline(
    world: World, guest: FakeAgent, command: str, flood: bool
) -> None:
    long = b'{"return": "' + b"x" * 100 + b'"}\n'
    guest.faults[command].append(faults.endless() if flood else dripping(long))
    run = world.service(freeze_timeout=0.5).run("nightly")
    assert guest.frozen == set() and dangling(run.steps) == []
    assert run.state in {State.DONE, State.FAILED}


# An agent that comes and goes


@pytest.mark.parametrize("remembers", [True, False])
def test_an_agent_that_restarts_in_the_window_has_lost_nothing_but_its_belief(
    world: World, guest: FakeAgent, remembers: bool
) -> None:
    """The kernel holds on, and the count says so, whether the agent knows it or not."""

    def restart() -> None:
        guest.disconnect()
        guest.believes_frozen = remembers

    in_the_window(world, restart)
    ends(world, GOOD)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_socket_that_refuses_ten_thousand_connections_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "qga.sock"
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(path))  # and never listens
    clock, files = SteppedClock(), open_files()
    agent, recorder = GuestAgent(unix_channel(str(path))), Recorder("vm", clock)
    with pytest.raises(CallError, match="nothing listens"):
        thaw_until_confirmed(agent, recorder, clock, 50_000, watch=False)
    assert len(recorder.steps) > 10_000
    assert open_files() <= files


# Too much


def huge_list() -> Fault:
    return faults.answer(
        [{"name": f"vd{i}", "mountpoint": f"/{i}", "type": "ext4", "disk": []} for i in range(100_000)]
    )


@pytest.mark.parametrize(
    "fault",
    [huge_list, lambda: faults.answer("x" * 10_000_000), faults.nested, lambda: faults.raw(b"[" * 10_000_000 + b"\n")],
    ids=["100,000 file systems", "10 MB of text", "nested", "10 MB of brackets"],
)
@pytest.mark.parametrize("command", [MOUNTS, FREEZE])
def test_more_than_anybody_needs_is_not_kept(
    world: World, guest: FakeAgent, patient: None, fault: Callable[[], Fault], command: str
) -> None:
    service = world.service(freeze_timeout=30, thaw_timeout=60)
    guest.faults[command].append(replace(fault(), effect=True))
    tracemalloc.start()
    try:
        run = service.run("nightly")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10 * MAX_MESSAGE
    assert guest.frozen == set()
    assert how(run) == (GOOD if command == MOUNTS else FAILED)
    assert max(len(str(step)) for step in run.steps) < 2000


def test_a_check_of_100_000_file_systems_says_that_it_is_too_much(world: World, guest: FakeAgent) -> None:
    guest.faults[MOUNTS].extend([huge_list(), huge_list(), huge_list()])
    report = world.service().check("vm")
    assert not report.ready and report.filesystems == ()
    (problem,) = report.problems
    assert "more than" in problem


# Names

#: Rewrites the title, turns the direction, hides, forges a line, leaves a folder and a quote, uses markup, ends a text.
NAME = "\x1b]0;owned\x07\x9b2J\u202e\u2066\u200b\u200d\ufeff\u034f\u3164"
NAME += '\r\nrun state=done ../../etc/passwd "x" \\ [red]\x00'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(run: Run, report: Health) -> tuple[str, str]:
    """All that a pipe, and all that a terminal, is given of a run and of a report."""
    pipe, terminal = io.StringIO(), Terminal()
    for output in (Plain(Stream(pipe)), Screen(Stream(terminal))):
        output.run(run)
        output.runs([run])
        output.health([report])
    return pipe.getvalue() + "\n".join(failures.shortfalls(run)), terminal.getvalue()


def test_names_reach_the_journal_as_they_are_and_no_terminal_or_line(
    world: World, guest: FakeAgent, tmp_path: Path
) -> None:
    before = {path.name for path in tmp_path.iterdir()}
    guest.system = dict.fromkeys(LINUX, NAME)
    guest.mounts = [f"/{NAME}", "/"]
    guest.version = NAME
    guest.faults[FREEZE].append(faults.error(NAME))
    run = ends(world, FAILED)
    pipe, terminal = shown(run, world.service().check("vm"))

    assert f"GenericError: {NAME}" in (run.error or ""), "the journal has it as it was"
    lines = pipe.split("\n")
    assert all(line.isprintable() and not set(line) & INVISIBLE for line in lines)
    assert not any(line.startswith("run state=done") for line in lines)
    assert not {*NAME, *INVISIBLE} & set(terminal) - {*map(chr, range(32, 127)), "\n", "\x1b"}
    assert "\x1b]" not in terminal and "\\x1b]0;owned" in terminal
    document = json.dumps(documents.run(run))
    assert document.isascii() and json.loads(document)["error"] == run.error
    assert {path.name for path in tmp_path.iterdir()} - before <= {"journal.db-wal", "journal.db-shm"}


@pytest.mark.parametrize(
    ("command", "reply", "expected"),
    [
        (SYSTEM, {"return": {"id": "x" * 10_000_000}}, GOOD),
        (MOUNTS, {"return": [{"name": "x" * 10_000_000, "mountpoint": "/", "type": "ext4"}]}, GOOD),
        (INFO, {"return": {"version": "x" * 10_000_000, "supported_commands": []}}, GOOD),
        (FREEZE, {"error": {"class": "GenericError", "desc": "\u202e" * 1_000_000}}, FAILED),
    ],
)
def test_names_of_ten_megabytes_are_not_taken(
    world: World, guest: FakeAgent, patient: None, command: str, reply: object, expected: tuple[State, Consistency, int]
) -> None:
    """Where the question may be asked again, it is."""
    guest.faults[command].append(faults.raw(json.dumps(reply).encode() + b"\n"))
    run = ends(world, expected, freeze_timeout=30, thaw_timeout=60)
    assert max(len(str(step)) for step in run.steps) < 2000
