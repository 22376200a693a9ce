"""An operator's acts keep the laws: what changes something holds the machine, and the history knows of all of it."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.acts import Question
from orchestrator.clock import Stop, SystemClock, Task
from orchestrator.errors import ConfigError, MachineBusy, NotFound, Rejected, Unreachable
from orchestrator.model import Action, ExecResult, Outcome, Run, State, Trigger
from orchestrator.operating import Entries, Operating
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World, later

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"
PING = '{"execute": "guest-ping"}'


def entries(world: World) -> Entries:
    return Entries(
        machines=world.machines,
        journal=world.journal,
        clock=SystemClock(),
        owner=world.owner,
        operator="alice@host",
        recovery=world.service().recovery(),
    )


def operating(world: World) -> Operating:
    return Operating(entries(world), world)


@pytest.fixture
def held(world: World, guest: FakeAgent) -> Iterator[None]:
    """A run is in its cut, for as long as the test takes."""
    going, cutting = threading.Event(), threading.Event()

    def cut() -> None:
        cutting.set()
        assert going.wait(60)

    world.storages["vm"].before["cut"].append(cut)
    task = Task(SystemClock(), "run", lambda: world.service(hold_limit=60).run("nightly"))
    assert cutting.wait(30)
    yield
    going.set()
    task.join()
    assert task.result().state is State.DONE


def last(world: World) -> Run:
    return world.journal.run(world.journal.history(1)[0].id)


def test_a_question_is_in_the_history_with_who_asked_it(world: World, guest: FakeAgent) -> None:
    answer = operating(world).asking.ask("vm", Question.OSINFO)
    assert answer.value["version"] == "12 (bookworm)"
    run = last(world)
    assert (run.id, run.job, run.trigger, run.state) == (answer.run, None, Trigger.MANUAL, State.DONE)
    [step] = run.steps
    assert (step.action, step.outcome) == (Action.ASK, Outcome.DONE)
    assert step.figures == {"by": "alice@host", "question": "osinfo"}


def test_a_question_without_an_answer_is_in_the_history_too(world: World, guest: FakeAgent) -> None:
    guest.faults["guest-get-osinfo"].append(faults.error("no such thing"))
    with pytest.raises(Rejected, match="no such thing"):
        operating(world).asking.ask("vm", Question.OSINFO)
    assert (last(world).state, last(world).steps[0].outcome) == (State.FAILED, Outcome.FAILED)


def test_the_agent_of_a_run_is_left_alone(world: World, guest: FakeAgent, held: None) -> None:
    calls = list(guest.calls)
    with pytest.raises(MachineBusy, match="needs the agent of vm"):
        operating(world).asking.ask("vm", Question.PING)
    run, answer = operating(world).asking.raw("vm", PING)
    assert (run.state, answer, exit_code(run)) == (State.REFUSED, None, 5)
    assert guest.calls == calls


def test_a_frozen_guest_is_asked_and_not_changed(world: World, guest: FakeAgent) -> None:
    guest.frozen, guest.believes_frozen = {"/"}, True
    assert operating(world).asking.ask("vm", Question.PING).value == {"answers": True}
    run, answer = operating(world).asking.raw("vm", PING)
    assert (run.state, answer) == (State.REFUSED, None)
    run, result = operating(world).asking.execute("vm", ["/bin/true"], 5)
    assert (run.state, result) == (State.REFUSED, None)
    assert "the guest's file systems are frozen" in str(run.error)
    assert (guest.executed, guest.frozen, guest.calls.count(THAW)) == ([], {"/"}, 0)
    assert world.journal.open_runs() == ()


def test_a_program_runs_while_the_machine_is_held(world: World, guest: FakeAgent) -> None:
    guest.programs["/bin/sh"] = ExecResult(3, b"out", b"err")
    run, result = operating(world).asking.execute("vm", ["/bin/sh", "-c", "x"], 5)
    assert result == ExecResult(3, b"out", b"err")
    assert (run.state, exit_code(run)) == (State.DONE, 0)
    assert [(s.action, s.outcome) for s in run.steps] == [
        (Action.PREFLIGHT, Outcome.DONE),
        (Action.ASK, Outcome.INTENT),
        (Action.ASK, Outcome.DONE),
    ]
    asked = {"by": "alice@host", "program": "/bin/sh", "arguments": ["-c", "x"]}
    assert [s.figures for s in run.steps[1:]] == [asked, {**asked, "exit_code": 3}]


@pytest.mark.parametrize("fault", [faults.error("no"), faults.answer({"exited": True, "out-data": "a" * 2_000_000})])
def test_a_program_whose_end_cannot_be_told_is_not_taken_for_refused(
    world: World, guest: FakeAgent, fault: faults.Fault
) -> None:
    guest.faults["guest-exec-status"].append(fault)
    run, result = operating(world).asking.execute("vm", ["/bin/sh", "-c", "x"], 5)
    assert (run.state, result, run.steps[-1].outcome) == (State.FAILED, None, Outcome.UNKNOWN)
    assert "/bin/sh was started, and how it ended is not known" in str(run.error)
    assert "no more than 1 MiB can be taken" in str(run.error)


def test_a_program_that_does_not_end_is_killed(world: World, guest: FakeAgent) -> None:
    guest.faults["guest-exec-status"] += [faults.answer({"exited": False})] * 1000
    guest.programs["/bin/kill"] = None
    run, result = operating(world).asking.execute("vm", ["/bin/sleep"], 0.3)
    assert (run.state, result) == (State.FAILED, None)
    assert "/bin/sleep may go on in the guest, as process 1: it did not end within 0.3 s" in str(run.error)
    assert guest.calls[-1] == "guest-exec", "it was to be killed, and there is no such program"
    assert run.steps[-1].outcome is Outcome.UNKNOWN


def test_a_program_is_ended_for_its_user(world: World, guest: FakeAgent) -> None:
    stop = Stop()
    stop.request()
    run, _ = operating(world).asking.execute("vm", ["/bin/sleep"], 60, stop)
    assert "/bin/sleep was killed: its user ended it" in str(run.error)
    assert guest.executed == [("/bin/sleep", []), ("/bin/kill", ["-KILL", "1"])]


def test_nothing_is_sent_to_a_machine_or_a_command_that_is_a_mistake(world: World, guest: FakeAgent) -> None:
    with pytest.raises(NotFound):
        operating(world).asking.ask("no", Question.PING)
    with pytest.raises(ConfigError):
        operating(world).asking.raw("vm", '{"execute": "guest-shutdown"}')
    assert (guest.calls, world.journal.history(1)) == ([], ())


def test_an_agent_that_is_away_keeps_nobody_waiting(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.operating.asking._ANSWER", 0.3)
    monkeypatch.setattr("orchestrator.operating.entries._STATUS", 0.3)
    guest.stop_agent()
    with pytest.raises(Unreachable, match="no answer in time"):
        operating(world).asking.ask("vm", Question.PING)
    run, answer = operating(world).asking.raw("vm", PING)
    assert (run.state, answer) == (State.FAILED, None)
    assert [(s.action, s.outcome) for s in run.steps] == [(Action.PREFLIGHT, Outcome.FAILED)]


class Killed(BaseException):
    """The process ends here."""


def die(_: object) -> None:
    raise Killed


def test_an_act_whose_process_died_is_settled_as_unknown(world: World, guest: FakeAgent) -> None:
    with pytest.raises(Killed):
        entries(world).act(world.machines["vm"], Action.ASK, {"question": "trim"}, None, die, 5)
    world.die()
    assert operating(world).asking.ask("vm", Question.PING).value == {"answers": True}
    [run] = world.service().recover()
    assert (run.state, guest.calls) == (State.RECOVERED, ["guest-ping"])
    assert [(s.action, s.outcome) for s in run.steps] == [(Action.ASK, Outcome.INTENT), (Action.ASK, Outcome.UNKNOWN)]


def test_an_act_whose_process_nobody_can_ask_has_until_its_lease_ends(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed in another container, of whose processes nothing is known here."""
    here, world.owner = world.owner, replace(world.owner, namespace=1)
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.operating.entries.Entries._end", lambda *_: None)
        left, _ = operating(world).asking.execute("vm", ["/bin/true"], 5)
    world.owner = here
    assert left.state is State.RUNNING
    assert operating(world).asking.raw("vm", PING)[0].state is State.REFUSED
    with pytest.raises(MachineBusy, match=left.id):
        operating(world).asking.ask("vm", Question.PING)

    later(monkeypatch, timedelta(minutes=2))
    assert operating(world).asking.ask("vm", Question.PING).value == {"answers": True}
    assert operating(world).asking.raw("vm", PING)[0].state is State.DONE
    assert world.journal.run(left.id).state is State.RECOVERED


def test_an_act_that_was_taken_over_is_told_as_its_successor_left_it(world: World, guest: FakeAgent) -> None:
    def run_something(*_: object) -> None:
        (run,) = world.journal.open_runs()
        successor = replace(world.owner, pid=world.owner.pid + 1)
        world.journal.take_over(run, successor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.operating.asking.Asking._run_program", run_something)
        run, _ = operating(world).asking.execute("vm", ["/bin/true"], 5)
    assert run.state is State.RUNNING


def test_an_act_does_not_wait_for_the_recovery_of_other_machines(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = world.add_guest("other")
    other.faults[THAW].extend([faults.error("no")] * 10_000)
    stuck = world.service(thaw_timeout=0.3).run("nightly", machine="other")
    assert stuck.state is State.STUCK
    other.faults[THAW].clear()
    slow = faults.late()
    other.faults[THAW].append(slow)
    seen = []

    def work(_: object) -> None:
        seen.append(world.journal.run(stuck.id).state)
        slow.release()

    run = entries(world).act(world.machines["vm"], Action.ASK, {"question": "trim"}, None, work, 5)
    assert (run.state, seen) == (State.DONE, [State.STUCK])
    assert world.journal.run(stuck.id).state is State.RECOVERED
