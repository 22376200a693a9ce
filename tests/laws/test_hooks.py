"""`application` is said only when the guest's own report is about this very freeze, and says that all held."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator.hooks import REPORT
from orchestrator.model import Action, Consistency, Outcome, Run, State
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import AgentError, FakeAgent
from tests.laws.conftest import World

THAW = "guest-fsfreeze-thaw"


class Hook:
    """The report of a guest's hook, which an agent lets the host read."""

    def __init__(self, guest: FakeAgent) -> None:
        #: The file; None: there is none.
        self.text: bytes | None = None
        #: What it is after the next freeze.
        self.after: bytes | None = None
        self._guest = guest
        guest.offer("guest-file-open", self._open)
        guest.offer("guest-file-read", self._read)
        guest.offer("guest-file-close", lambda _: {})

    def _open(self, arguments: Mapping[str, Any]) -> int:
        assert arguments == {"path": REPORT, "mode": "r"}
        if THAW in self._guest.calls:
            self.text = self.after
        if self.text is None:
            raise AgentError(f"failed to open file '{REPORT}' (mode: 'r'): No such file or directory")
        return 1000

    def _read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        assert arguments["handle"] == 1000
        assert self.text is not None
        found = self.text[: arguments["count"]]
        return {"count": len(found), "buf-b64": base64.b64encode(found).decode(), "eof": True}


@pytest.fixture
def hook(guest: FakeAgent) -> Hook:
    return Hook(guest)


def asked(run: Run) -> list[Outcome]:
    return [step.outcome for step in run.steps if step.action is Action.ASK]


@pytest.mark.parametrize(("before", "after"), [(None, b"1 2 thawed\n"), (b"7 2 thawed\n", b"8 1 thawed\n")])
def test_hooks_that_held_make_it_application(
    world: World, guest: FakeAgent, hook: Hook, before: bytes | None, after: bytes
) -> None:
    hook.text, hook.after = before, after
    run = world.service().run("nightly")
    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.APPLICATION, 0)
    assert asked(run) == [Outcome.DONE]


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [
        (None, None, []),
        (b"7 2 thawed\n", b"7 2 thawed\n", []),  # the hook is no longer there
        (b"7 2 thawed\n", b"9 2 thawed\n", [Outcome.FAILED]),  # another freeze came in between
        (b"7 2 thawed\n", b"1 2 thawed\n", [Outcome.FAILED]),  # the guest was booted anew
        (b"7 2 thawed\n", b"8 2 lost\n", [Outcome.FAILED]),
        (b"7 2 thawed\n", b"8 2 frozen\n", [Outcome.FAILED]),
        (b"7 2 thawed\n", b"8 0 thawed\n", [Outcome.DONE]),  # there is no script
        (None, b"1 2 thawed", []),
        (None, b"1 2 thawed\n\n", []),
        (None, b"1" * 300, []),
        (None, b"\xff\x00 2 thawed\n", []),
    ],
)
def test_all_else_is_no_more_than_file_systems(
    world: World, guest: FakeAgent, hook: Hook, before: bytes | None, after: bytes | None, outcome: list[Outcome]
) -> None:
    hook.text, hook.after = before, after
    run = world.service().run("nightly")
    assert (run.state, run.consistency, run.error) == (State.DONE, Consistency.FILESYSTEM, None)
    assert asked(run) == outcome


def test_hooks_do_not_make_up_for_a_guest_that_was_thawed(world: World, guest: FakeAgent, hook: Hook) -> None:
    hook.after = b"1 2 thawed\n"
    world.storages["vm"].after["cut"].append(lambda: guest.thaw_by_hand("/data"))
    run = world.service().run("nightly")
    assert (run.state, run.consistency) == (State.FAILED, Consistency.CRASH)


@pytest.mark.parametrize("command", ["guest-file-open", "guest-file-read", "guest-file-close"])
def test_an_agent_that_forbids_it_is_not_asked(world: World, guest: FakeAgent, hook: Hook, command: str) -> None:
    hook.after = b"1 2 thawed\n"
    guest.disabled.add(command)
    run = world.service().run("nightly")
    assert run.consistency is Consistency.FILESYSTEM
    assert "guest-file-open" not in guest.calls


def test_a_report_that_cannot_be_read_after_the_thaw_does_not_count(world: World, guest: FakeAgent, hook: Hook) -> None:
    hook.text, hook.after = b"7 2 thawed\n", b"8 2 thawed\n"
    guest.faults["guest-file-read"] += [faults.Fault(), faults.error("I/O error")]
    run = world.service().run("nightly")
    assert (run.state, run.consistency) == (State.DONE, Consistency.FILESYSTEM)
