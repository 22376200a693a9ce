"""The laws of the transaction, on fake guests: every fault ends with a thawed guest and a true history."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from orchestrator.clock import Stop, SystemClock, Task
from orchestrator.errors import JournalUnavailable, OutcomeUnknown, Rejected
from orchestrator.model import Action, Consistency, Machine, Outcome, Quiesce, Run, State, Step
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"
STATUS = "guest-fsfreeze-status"


def outcomes(run: Run, action: Action) -> list[Outcome]:
    return [step.outcome for step in run.steps if step.action is action]


def step(run: Run, action: Action, outcome: Outcome) -> Step:
    (found,) = [s for s in run.steps if s.action is action and s.outcome is outcome]
    return found


def fails(error: Exception) -> None:
    raise error


def wait_for(event: threading.Event) -> None:
    assert event.wait(30)


@contextmanager
def running(world: World, stop: Stop | None = None, **job: object) -> Iterator[Task[Run]]:
    """A run on a thread of its own."""
    service = world.service(**job)
    task = Task(SystemClock(), "run", lambda: service.run("nightly", stop=stop))
    yield task
    task.join()


def test_a_quiesced_run_is_proven_and_journaled_step_by_step(world: World, guest: FakeAgent) -> None:
    run = world.service().run("nightly")

    assert (run.state, run.consistency, run.error, exit_code(run)) == (State.DONE, Consistency.FILESYSTEM, None, 0)
    assert guest.frozen == set()
    assert world.storages["vm"].snapshots == {f"quiesce-{run.id}"}
    assert [(s.action, s.outcome) for s in run.steps] == [
        (Action.PREFLIGHT, Outcome.DONE),
        (Action.PREPARE, Outcome.INTENT),
        (Action.PREPARE, Outcome.DONE),
        (Action.FREEZE, Outcome.INTENT),
        (Action.CUT, Outcome.INTENT),
        (Action.THAW, Outcome.INTENT),
        (Action.FREEZE, Outcome.DONE),
        (Action.CUT, Outcome.DONE),
        (Action.THAW, Outcome.DONE),
        (Action.CONFIRM, Outcome.DONE),
    ]
    assert step(run, Action.FREEZE, Outcome.DONE).figures["frozen"] == 2
    assert step(run, Action.THAW, Outcome.DONE).figures["thawed"] == 2
    (target,) = run.targets
    assert target.window_ms is not None and target.hold_ms is not None
    assert 0 < target.hold_ms < target.window_ms
    assert world.journal.open_runs() == ()


def test_the_guest_is_frozen_during_the_cut_and_the_intents_are_committed_before_the_freeze(
    world: World, guest: FakeAgent
) -> None:
    seen = []

    def look() -> None:
        (run,) = world.journal.open_runs()
        intents = {s.action for s in run.steps if s.outcome is Outcome.INTENT}
        seen.append((set(guest.frozen), run.state, intents))

    world.storages["vm"].before["cut"].append(look)
    world.service().run("nightly")

    intents = {Action.PREPARE, Action.FREEZE, Action.CUT, Action.THAW}
    assert seen == [({"/", "/data"}, State.RUNNING, intents)]


def test_nothing_is_written_to_the_journal_between_freeze_and_thaw(world: World, guest: FakeAgent) -> None:
    written_while_frozen = []
    real_move, real_record = world.journal.move, world.journal.record
    for name, real in (("move", real_move), ("record", real_record)):

        def write(*arguments: object, name: str = name, real: object = real) -> None:
            if guest.frozen:
                written_while_frozen.append(name)
            real(*arguments)  # type: ignore[operator]

        setattr(world.journal, name, write)
    run = world.service().run("nightly")

    assert run.state is State.DONE
    assert written_while_frozen == []


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (faults.error("it failed"), Outcome.FAILED),
        (faults.reply_lost(), Outcome.UNKNOWN),
        (faults.swallowed(), Outcome.UNKNOWN),
        (faults.garbage(), Outcome.UNKNOWN),
        (faults.nested(), Outcome.UNKNOWN),
        (faults.answer("two"), Outcome.UNKNOWN),
        (faults.answer(True), Outcome.UNKNOWN),
        (faults.answer(-1), Outcome.UNKNOWN),
        (faults.answer(2**70), Outcome.UNKNOWN),
        (faults.endless(), Outcome.UNKNOWN),
        (faults.disconnect(effect=True), Outcome.UNKNOWN),
        (faults.disconnect(effect=False), Outcome.UNKNOWN),
        (faults.answer(0, effect=False), Outcome.FAILED),
    ],
    ids=lambda value: getattr(value, "name", None),
)
@pytest.mark.parametrize("quiesce", [Quiesce.REQUIRED, Quiesce.PREFERRED])
def test_whatever_a_freeze_answers_the_guest_is_thawed(
    world: World, guest: FakeAgent, fault: faults.Fault, outcome: Outcome, quiesce: Quiesce
) -> None:
    guest.faults[FREEZE].append(fault)
    run = world.service(freeze_timeout=0.3, quiesce=quiesce).run("nightly")

    assert guest.frozen == set()
    assert guest.calls.count(FREEZE) == 1
    assert guest.calls.count(THAW) >= 1
    assert outcomes(run, Action.FREEZE) == [Outcome.INTENT, outcome]
    assert world.storages["vm"].prepared == set()
    if quiesce is Quiesce.REQUIRED:
        assert (run.state, run.consistency, exit_code(run)) == (State.FAILED, Consistency.NONE, 1)
        assert "cut" not in world.storages["vm"].calls
    else:
        assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.CRASH, 4)
    assert run.error


def test_a_freeze_that_lands_after_its_timeout_is_thawed(world: World, guest: FakeAgent) -> None:
    late = faults.late()
    guest.faults[FREEZE].append(late)
    with running(world, freeze_timeout=0.2) as task:
        guest.wait_for(lambda g: FREEZE in g.calls)
        guest_sees_thaw = threading.Timer(0.5, late.release)
        guest_sees_thaw.start()
    run = task.result()

    assert guest.calls.count(THAW) >= 1
    assert guest.frozen == set()
    assert run.state is State.FAILED
    assert "vm" not in {t.machine.name for r in world.journal.open_runs() for t in r.targets}


@pytest.mark.parametrize("quiesce", [Quiesce.REQUIRED, Quiesce.PREFERRED])
def test_a_freeze_that_comes_after_somebody_elses_is_refused_and_not_thawed(
    world: World, guest: FakeAgent, quiesce: Quiesce
) -> None:
    # Between our last look and our freeze, another client froze the guest.
    message = "Command guest-fsfreeze-freeze has been disabled: the agent is in frozen state"
    guest.faults[FREEZE].append(replace(faults.error(message, "CommandNotFound"), effect=True))
    run = world.service(quiesce=quiesce).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.REFUSED, Consistency.NONE, 5)
    assert THAW not in guest.calls
    assert guest.frozen == {"/", "/data"}
    assert world.storages["vm"].snapshots == set()
    assert world.storages["vm"].prepared == set()
    assert step(run, Action.FREEZE, Outcome.FAILED).figures["sent"] is False


def test_a_freeze_that_is_forbidden_at_the_last_moment_fails(world: World, guest: FakeAgent) -> None:
    message = "Command guest-fsfreeze-freeze has been disabled: the command is not allowed"
    guest.faults[FREEZE].append(faults.error(message, "CommandNotFound"))
    run = world.service().run("nightly")

    assert (run.state, exit_code(run)) == (State.FAILED, 1)
    assert THAW not in guest.calls


@pytest.mark.parametrize(
    "fault",
    [faults.error("busy"), faults.reply_lost(), faults.garbage(), faults.disconnect(effect=True), faults.answer(-3)],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_thaw_is_repeated_until_it_is_confirmed(
    world: World, guest: FakeAgent, fault: faults.Fault, times: int
) -> None:
    guest.faults[THAW].extend([fault] * times)
    run = world.service(thaw_timeout=20).run("nightly")

    assert guest.frozen == set()
    assert guest.calls.count(THAW) == times + 1
    assert outcomes(run, Action.CONFIRM) == [Outcome.DONE]
    lost_the_count = fault.effect
    assert run.consistency is (Consistency.CRASH if lost_the_count else Consistency.FILESYSTEM)
    assert run.state is (State.FAILED if lost_the_count else State.DONE)


def test_a_guest_that_was_thawed_by_another_hand_is_not_called_consistent(world: World, guest: FakeAgent) -> None:
    world.storages["vm"].before["cut"].append(lambda: guest.frozen.discard("/data"))
    run = world.service().run("nightly")

    assert (run.state, run.consistency) == (State.FAILED, Consistency.CRASH)
    assert "2 file systems were frozen, but the thaw found only 1" in (run.error or "")
    assert world.storages["vm"].snapshots == {f"quiesce-{run.id}"}


def test_a_guest_that_says_frozen_after_the_thaw_is_thawed_again(world: World, guest: FakeAgent) -> None:
    thawed = [faults.Fault(), faults.Fault()]
    guest.faults[STATUS].extend([*thawed, faults.answer("frozen")])
    run = world.service().run("nightly")

    assert guest.calls.count(THAW) == 2
    assert outcomes(run, Action.CONFIRM) == [Outcome.FAILED, Outcome.DONE]
    assert run.state is State.DONE


def test_a_thaw_that_cannot_be_confirmed_leaves_the_run_stuck_and_the_machine_taken(
    world: World, guest: FakeAgent
) -> None:
    guest.faults[THAW].extend([faults.error("no")] * 100)
    run = world.service(thaw_timeout=0.5).run("nightly")

    assert (run.state, exit_code(run)) == (State.STUCK, 3)
    assert run.finished_at is None
    assert guest.frozen

    guest.faults[THAW].extend([faults.error("no")] * 100)
    again = world.service(thaw_timeout=0.5).run("nightly")
    assert (again.state, exit_code(again)) == (State.REFUSED, 5)
    assert run.id in (again.error or "")

    guest.faults[THAW].clear()
    (recovered,) = world.service().recover()
    assert (recovered.id, recovered.state) == (run.id, State.RECOVERED)
    assert guest.frozen == set()
    assert world.service().run("nightly").state is State.DONE


@pytest.mark.parametrize(
    ("error", "outcome"), [(Rejected("no space"), Outcome.FAILED), (OutcomeUnknown("no reply"), Outcome.UNKNOWN)]
)
def test_a_cut_that_fails_is_asked_for_by_name_and_its_preparation_removed(
    world: World, guest: FakeAgent, error: Exception, outcome: Outcome
) -> None:
    world.storages["vm"].before["cut"].append(lambda: fails(error))
    run = world.service().run("nightly")

    assert guest.frozen == set()
    assert world.storages["vm"].calls == ["plan", "prepare", "cut", "happened", "discard"]
    assert world.storages["vm"].prepared == set()
    assert outcomes(run, Action.CUT) == [Outcome.INTENT, outcome]
    assert (run.state, run.consistency) == (State.FAILED, Consistency.NONE)
    assert str(error) in (run.error or "")


def test_a_cut_whose_reply_is_lost_is_found_by_name_and_kept_as_not_proven(world: World, guest: FakeAgent) -> None:
    world.storages["vm"].after["cut"].append(lambda: fails(OutcomeUnknown("no reply")))
    run = world.service().run("nightly")

    assert world.storages["vm"].snapshots == {f"quiesce-{run.id}"}
    assert (run.state, run.consistency) == (State.FAILED, Consistency.CRASH)
    assert run.targets[0].snapshot == {"name": f"quiesce-{run.id}", "stored": f"quiesce-{run.id}"}
    assert "discard" not in world.storages["vm"].calls


def test_a_defect_in_a_driver_thaws_the_guest(world: World, guest: FakeAgent) -> None:
    world.storages["vm"].before["cut"].append(lambda: fails(ZeroDivisionError("oops")))
    run = world.service().run("nightly")

    assert guest.frozen == set()
    assert (run.state, outcomes(run, Action.CUT)[-1]) == (State.FAILED, Outcome.UNKNOWN)
    assert "ZeroDivisionError" in (run.error or "")


def test_a_cut_that_hangs_is_outlived_by_the_hold_limit_and_is_only_crash_consistent(
    world: World, guest: FakeAgent
) -> None:
    let_go = threading.Event()
    world.storages["vm"].before["cut"].append(lambda: wait_for(let_go))
    with running(world, hold_limit=0.3) as task:
        guest.wait_for(lambda g: THAW in g.calls)
        guest.wait_for(lambda g: not g.frozen)
        let_go.set()
    run = task.result()

    assert (run.state, run.consistency) == (State.FAILED, Consistency.CRASH)
    assert "the cut ended after the guest was thawed" in (run.error or "")
    assert run.targets[0].hold_ms is not None
    assert 290 <= run.targets[0].hold_ms < 30_000


def test_a_foreign_freeze_is_refused_and_left_alone(world: World, guest: FakeAgent) -> None:
    guest.frozen, guest.believes_frozen = {"/"}, True
    run = world.service().run("nightly")

    assert (run.state, exit_code(run)) == (State.REFUSED, 5)
    assert guest.frozen == {"/"}
    assert THAW not in guest.calls
    assert world.storages["vm"].calls == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("quiesce", "code"), [(Quiesce.REQUIRED, 1), (Quiesce.PREFERRED, 4), (Quiesce.OFF, 0)])
def test_without_an_agent_the_policy_decides(world: World, guest: FakeAgent, quiesce: Quiesce, code: int) -> None:
    world.machines["vm"] = Machine("vm", agent="/nowhere/qga.sock")
    run = world.service(quiesce=quiesce).run("nightly")

    assert exit_code(run) == code
    assert run.consistency is (Consistency.NONE if quiesce is Quiesce.REQUIRED else Consistency.CRASH)
    assert outcomes(run, Action.FREEZE) == []


def test_with_quiesce_off_the_guest_is_not_even_asked(world: World, guest: FakeAgent) -> None:
    run = world.service(quiesce=Quiesce.OFF).run("nightly")

    assert (run.state, run.consistency) == (State.DONE, Consistency.CRASH)
    assert (guest.calls, guest.syncs) == ([], 0)


def test_an_agent_that_may_not_freeze_is_told_with_what_to_do(world: World, guest: FakeAgent) -> None:
    guest.disabled.add(FREEZE)
    run = world.service().run("nightly")

    assert run.state is State.FAILED
    assert f"does not allow {FREEZE}" in (run.error or "")
    assert FREEZE not in guest.calls


def test_only_the_mountpoints_of_the_job_are_frozen(world: World, guest: FakeAgent) -> None:
    seen = []
    world.storages["vm"].before["cut"].append(lambda: seen.append(set(guest.frozen)))
    run = world.service(mountpoints=("/data",)).run("nightly")

    assert seen == [{"/data"}]
    assert run.state is State.DONE


@pytest.mark.parametrize("mountpoints", [("/no",), ("/data", "/no")])
def test_a_mountpoint_that_the_guest_does_not_have_is_told_before_the_freeze(
    world: World, guest: FakeAgent, mountpoints: tuple[str, ...]
) -> None:
    """The agent would freeze the others, and nobody would know that one was left out."""
    run = world.service(mountpoints=mountpoints).run("nightly")
    assert run.state is State.FAILED
    assert "no file system is mounted at /no; the guest has /" in str(run.error)
    assert FREEZE not in guest.calls

    guest.disabled.add("guest-get-fsinfo")  # who does not tell is frozen as far as it goes
    assert world.service(mountpoints=("/data", "/no")).run("nightly").state is State.DONE


def test_a_journal_that_is_away_before_the_freeze_leaves_the_guest_untouched(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = world.service()
    monkeypatch.setattr(world.journal, "move", lambda *_: fails(JournalUnavailable("the disk is full")))
    with pytest.raises(JournalUnavailable, match="the disk is full"):
        service.run("nightly")

    assert FREEZE not in guest.calls
    monkeypatch.undo()
    world.die()
    (recovered,) = world.service().recover()
    assert recovered.state is State.RECOVERED
    assert world.storages["vm"].prepared == set()


def test_a_journal_that_vanishes_inside_the_window_is_written_when_it_is_back(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.journal.move
    away: list[str] = []

    def move(*arguments: object) -> None:
        if guest.calls.count(THAW) and len(away) < 3:
            away.append("once")
            raise JournalUnavailable("gone")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.journal, "move", move)
    run = world.service().run("nightly")

    assert len(away) == 3
    assert (run.state, run.consistency) == (State.DONE, Consistency.FILESYSTEM)


def test_a_journal_that_stays_away_after_the_window_is_told_with_the_state_of_the_guest(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = world.journal.move

    def move(*arguments: object) -> None:
        if guest.calls.count(THAW):
            raise JournalUnavailable("gone")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.journal, "move", move)
    monkeypatch.setattr("orchestrator.writing.PATIENCE", 0.3)
    with pytest.raises(JournalUnavailable, match="vm is thawed"):
        world.service().run("nightly")

    assert guest.frozen == set()
    monkeypatch.undo()
    world.die()
    (recovered,) = world.service().recover()
    assert (recovered.state, recovered.consistency) == (State.RECOVERED, Consistency.CRASH)


def test_a_second_run_on_a_busy_machine_is_refused(world: World, guest: FakeAgent) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        go_on.wait(10)

    world.storages["vm"].before["prepare"].append(hold)
    with running(world) as task:
        assert inside.wait(10)
        second = world.service().run("nightly")
        go_on.set()
    first = task.result()

    assert (second.state, exit_code(second)) == (State.REFUSED, 5)
    assert first.id in (second.error or "")
    assert first.state is State.DONE


def test_a_user_who_ends_the_run_inside_the_window_gets_the_guest_thawed(world: World, guest: FakeAgent) -> None:
    stop, let_go = Stop(), threading.Event()
    world.storages["vm"].before["cut"].append(lambda: wait_for(let_go))
    with running(world, stop, hold_limit=30) as task:
        guest.wait_for(lambda g: bool(g.frozen))
        stop.request()
        guest.wait_for(lambda g: not g.frozen)
        let_go.set()
    run = task.result()

    assert run.state in {State.CANCELLED}
    assert guest.frozen == set()
    assert exit_code(run) == 1


def test_a_user_who_ends_the_run_before_the_freeze_gets_it_cancelled(world: World, guest: FakeAgent) -> None:
    stop = Stop()
    world.storages["vm"].before["prepare"].append(stop.request)
    run = world.service().run("nightly", stop=stop)

    assert run.state is State.CANCELLED
    assert FREEZE not in guest.calls
    assert world.storages["vm"].prepared == set()


def test_without_group_each_machine_ends_by_itself(world: World) -> None:
    good, bad = world.add_guest("good"), world.add_guest("bad")
    bad.disabled.add(FREEZE)
    run = world.service().run("nightly")

    assert {t.machine.name: t.state for t in run.targets} == {"good": State.DONE, "bad": State.FAILED}
    assert (run.state, run.consistency) == (State.FAILED, Consistency.NONE)
    assert not good.frozen and not bad.frozen


def test_a_group_is_frozen_at_one_point_in_time(world: World) -> None:
    guests = [world.add_guest(name) for name in ("a", "b", "c")]
    seen = []
    for storage in world.storages.values():
        storage.before["cut"].append(lambda: seen.append([bool(guest.frozen) for guest in guests]))
    run = world.service(group=True).run("nightly")

    assert run.state is State.DONE
    assert seen == [[True, True, True]] * 3
    frozen = max(s.monotonic for s in run.steps if s.action is Action.FREEZE and s.outcome is Outcome.DONE)
    thawing = min(s.began for s in run.steps if s.action is Action.THAW and s.outcome is Outcome.DONE)
    assert all(
        frozen <= s.began <= s.monotonic <= thawing
        for s in run.steps
        if s.outcome is Outcome.DONE and s.action is Action.CUT
    )


def test_a_group_is_all_or_nothing(world: World) -> None:
    good, bad = world.add_guest("good"), world.add_guest("bad")
    bad.faults[FREEZE].append(faults.error("no"))
    run = world.service(group=True).run("nightly")

    assert {t.state for t in run.targets} == {State.FAILED}
    assert all("cut" not in storage.calls for storage in world.storages.values())
    assert not good.frozen and not bad.frozen
    assert all(storage.prepared == set() for storage in world.storages.values())


def test_a_group_whose_slowest_freeze_passes_the_hold_limit_lets_the_others_go(world: World) -> None:
    fast, slow = world.add_guest("fast"), world.add_guest("slow")
    late = faults.late()
    slow.faults[FREEZE].append(late)
    with running(world, group=True, hold_limit=0.3, freeze_timeout=20) as task:
        fast.wait_for(lambda g: THAW in g.calls)
        fast.wait_for(lambda g: not g.frozen)
        late.release()
    run = task.result()

    assert {t.state for t in run.targets} == {State.FAILED}
    assert not fast.frozen and not slow.frozen
    assert "hold limit" in (run.error or "")


@pytest.mark.parametrize("quiesce", [Quiesce.OFF, Quiesce.PREFERRED, Quiesce.REQUIRED])
def test_what_was_intended_and_not_done_is_said_to_be_so(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, quiesce: Quiesce
) -> None:
    real, away = world.journal.move, [True]

    def move(*arguments: object) -> None:
        if away:
            away.pop()
            raise JournalUnavailable("gone")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(world.journal, "move", move)
    run = world.service(quiesce=quiesce).run("nightly")

    assert (run.state, run.error) == (State.FAILED, "gone")
    last = {s.action: s.outcome for s in run.steps}
    assert Outcome.INTENT not in last.values()
    assert last[Action.CUT] is Outcome.FAILED
