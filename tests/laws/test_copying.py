"""What the cut only began: copied while the guest runs, published whole or removed, and settled whoever dies."""

import threading
from typing import NoReturn

import pytest

from orchestrator.acts import Question
from orchestrator.clock import Stop, SystemClock, Task
from orchestrator.errors import (
    ConfigError,
    JournalUnavailable,
    NotFound,
    OutcomeUnknown,
    Rejected,
    Unreachable,
    Untrusted,
)
from orchestrator.model import Action, Consistency, Outcome, Quiesce, Run, State, Step, Verify
from orchestrator.policy import cut_of, exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.fakes.driver import CopyingMemoryDriver, Storage
from tests.laws.conftest import World
from tests.laws.dying import Killed, killed
from tests.laws.test_operating import operating

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"
COPYING = (Action.COPY, Action.PUBLISH)


def fails(error: Exception) -> NoReturn:
    raise error


@pytest.fixture
def storage(world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The storage of `vm`, whose cuts only begin."""
    monkeypatch.setattr("orchestrator.copying._PAUSE", 0.01)
    world.makes_driver = CopyingMemoryDriver
    return world.storages["vm"]


def outcomes(run: Run, action: Action) -> list[Outcome]:
    return [step.outcome for step in run.steps if step.action is action]


def nothing_stays(storage: Storage) -> bool:
    return not storage.prepared and not storage.copies and not storage.snapshots


def test_a_copy_goes_on_after_the_thaw_and_is_published(world: World, guest: FakeAgent, storage: Storage) -> None:
    seen: list[tuple[bool, set[Action], State]] = []

    def look() -> None:
        (run,) = world.journal.open_runs()
        intents = {s.action for s in run.steps if s.outcome is Outcome.INTENT}
        seen.append((bool(guest.frozen), intents & set(COPYING), run.state))

    storage.before["copied"].append(look)
    run = world.service().run("nightly")

    assert seen == [(False, set(COPYING), State.RUNNING)]
    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.FILESYSTEM, 0)
    assert [(s.action, s.outcome) for s in run.steps][-6:] == [
        (Action.THAW, Outcome.DONE),
        (Action.CONFIRM, Outcome.DONE),
        (Action.COPY, Outcome.INTENT),
        (Action.PUBLISH, Outcome.INTENT),
        (Action.COPY, Outcome.DONE),
        (Action.PUBLISH, Outcome.DONE),
    ]
    name = f"quiesce-{run.id}"
    assert run.targets[0].snapshot == {"name": name, "stored": name, "consistency": "filesystem"}


def test_how_far_a_copy_is_is_told_and_not_journaled(world: World, storage: Storage) -> None:
    told: list[Step] = []
    run = world.service().run("nightly", observer=told.append)

    halfway = [s.figures for s in told if s.action is Action.COPY and "percent" in s.figures]
    assert [figures["percent"] for figures in halfway] == [0, 100]
    assert outcomes(run, Action.COPY) == [Outcome.INTENT, Outcome.DONE]
    assert run.steps[-2].figures["bytes"] == run.steps[-2].figures["total_bytes"] == 100


@pytest.mark.parametrize("call", ["copied", "publish"])
def test_a_copy_that_fails_is_removed_and_leaves_no_backup(world: World, storage: Storage, call: str) -> None:
    storage.before[call].append(lambda: fails(Rejected("no space left on device")))
    run = world.service().run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.FAILED, Consistency.NONE, 1)
    assert run.error == "no space left on device"
    assert run.targets[0].snapshot is None
    assert nothing_stays(storage)
    assert all(outcomes(run, action)[-1] is not Outcome.INTENT for action in COPYING)


def test_what_was_published_without_an_answer_is_found_and_kept(world: World, storage: Storage) -> None:
    storage.after["publish"].append(lambda: fails(OutcomeUnknown("no reply")))
    run = world.service().run("nightly")

    assert (run.state, run.consistency) == (State.DONE, Consistency.FILESYSTEM)
    assert storage.snapshots == {run.snapshot_name}
    assert "discard" not in storage.calls


def test_a_look_that_gets_no_answer_is_taken_again(world: World, storage: Storage) -> None:
    storage.before["copied"].extend([lambda: fails(Unreachable("restarting"))] * 3)
    run = world.service().run("nightly")

    assert run.state is State.DONE
    assert storage.calls.count("copied") == 5


def test_a_copy_of_which_nobody_hears_is_given_up(
    world: World, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.copying._SILENCE", 0.0)
    storage.before["copied"].append(lambda: fails(OutcomeUnknown("no reply")))
    run = world.service().run("nightly")

    assert (run.state, outcomes(run, Action.COPY)[-1]) == (State.FAILED, Outcome.UNKNOWN)
    assert nothing_stays(storage)


def test_a_user_who_ends_the_run_ends_its_copy(world: World, storage: Storage) -> None:
    stop = Stop()
    storage.before["copied"].append(stop.request)
    run = world.service().run("nightly", stop=stop)

    assert (run.state, run.consistency, exit_code(run)) == (State.CANCELLED, Consistency.NONE, 1)
    assert "ended by its user" in (run.error or "")
    assert nothing_stays(storage)


def test_a_copy_that_takes_too_long_is_ended(world: World, storage: Storage) -> None:
    run = world.service(copy_limit=0.0).run("nightly")

    assert run.state is State.FAILED
    assert "within the copy_limit" in (run.error or "")
    assert nothing_stays(storage)


def test_nothing_is_copied_while_a_guest_may_be_frozen(world: World, guest: FakeAgent, storage: Storage) -> None:
    guest.faults[THAW].extend([faults.error("no")] * 100)
    run = world.service(thaw_timeout=0.5).run("nightly")

    assert run.state is State.STUCK
    assert "copied" not in storage.calls
    assert nothing_stays(storage)
    guest.faults[THAW].clear()
    (recovered,) = world.service().recover()
    assert (recovered.state, recovered.consistency) == (State.RECOVERED, Consistency.NONE)


def test_a_cut_that_was_not_made_is_not_copied(world: World, guest: FakeAgent, storage: Storage) -> None:
    guest.faults[FREEZE].append(faults.error("no"))
    run = world.service().run("nightly")

    assert run.state is State.FAILED
    assert outcomes(run, Action.COPY) == []
    assert nothing_stays(storage)


def test_others_may_ask_the_guest_during_the_copy(world: World, guest: FakeAgent, storage: Storage) -> None:
    """The agent's socket serves one client; a copy may take hours."""
    copying, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        copying.set()
        assert let_go.wait(30)

    storage.before["copied"].append(hold)
    service = world.service()
    task = Task(SystemClock(), "run", lambda: service.run("nightly"))
    assert copying.wait(30)
    report = world.service().check("vm")
    answer = operating(world).asking.ask("vm", Question.PING)
    let_go.set()
    task.join()

    assert report.ready
    assert answer.value == {"answers": True}
    assert task.result().state is State.DONE


def test_a_journal_that_goes_away_for_the_copy_costs_no_backup(
    world: World, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def go_away() -> None:
        monkeypatch.setattr("orchestrator.writing.PATIENCE", 0.0)
        monkeypatch.setattr(world.journal, "move", lambda *_: fails(JournalUnavailable("gone")))

    storage.before["copied"].append(go_away)
    with pytest.raises(JournalUnavailable, match="vm is thawed"):
        world.service().run("nightly")
    monkeypatch.undo()
    world.die()

    (run,) = world.service().recover()
    assert (run.state, run.consistency) == (State.RECOVERED, Consistency.FILESYSTEM)
    assert storage.snapshots == {run.snapshot_name}


@pytest.mark.parametrize(
    ("when", "call", "published"),
    [
        ("before", "copied", False),
        ("after", "copied", False),
        ("before", "publish", False),
        ("after", "publish", True),
    ],
)
def test_a_process_that_dies_leaves_a_whole_backup_or_none(
    world: World, guest: FakeAgent, storage: Storage, when: str, call: str, published: bool
) -> None:
    getattr(storage, when)[call].append(killed)
    with pytest.raises(Killed):
        world.service().run("nightly")
    world.die()

    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
    assert run.consistency is (Consistency.FILESYSTEM if published else Consistency.NONE)
    assert (run.targets[0].snapshot is not None) is published
    assert storage.snapshots == ({run.snapshot_name} if published else set())
    assert not storage.copies and not storage.prepared
    assert THAW not in guest.calls[guest.calls.index(THAW) + 1 :]
    assert world.service().recover() == ()
    assert world.service().run("nightly").state is State.DONE


@pytest.mark.parametrize("call", ["happened", "discard"])
def test_a_recovery_that_dies_with_a_copy_in_hand_is_run_again(world: World, storage: Storage, call: str) -> None:
    storage.before["copied"].append(killed)
    with pytest.raises(Killed):
        world.service().run("nightly")
    world.die()
    storage.before[call].append(killed)
    with pytest.raises(Killed):
        world.service().recover()
    world.die()

    (run,) = world.service().recover()
    assert run.state is State.RECOVERED
    assert nothing_stays(storage)


def test_a_crash_consistent_backup_is_kept_and_called_so(world: World, guest: FakeAgent, storage: Storage) -> None:
    storage.before["cut"].append(lambda: guest.frozen.discard("/data"))
    run = world.service(quiesce=Quiesce.PREFERRED).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.CRASH, 4)
    assert (run.targets[0].snapshot or {})["consistency"] == "crash"


def test_a_driver_that_makes_no_backups_needs_no_repository(world: World, guest: FakeAgent) -> None:
    with pytest.raises(ConfigError, match="makes no backups; take out repository"):
        world.service(repository="/backups").run("nightly")
    assert world.journal.history(1) == ()


def test_a_backup_is_examined_before_its_run_is_done(world: World, storage: Storage) -> None:
    asked: list[tuple[str, str, Verify, State]] = []

    def examine(machine: str, run_id: str, verify: Verify) -> dict[str, object]:
        asked.append((machine, run_id, verify, world.journal.run(run_id).state))
        return {"filesystems": []}

    world.examine = examine
    run = world.service(verify=Verify.FILESYSTEM).run("nightly")

    assert asked == [("vm", run.id, Verify.FILESYSTEM, State.RUNNING)]
    assert (run.state, exit_code(run)) == (State.DONE, 0)
    assert outcomes(run, Action.EXAMINE) == [Outcome.INTENT, Outcome.DONE]
    assert run.steps[-1].figures == {"verify": "filesystem", "filesystems": []}


@pytest.mark.parametrize("quiesce", list(Quiesce))
@pytest.mark.parametrize("error", [Untrusted("vda is damaged"), NotFound("no such backup"), ValueError("a defect")])
def test_a_backup_that_is_not_to_be_trusted_fails_its_run_and_stays(
    world: World, storage: Storage, quiesce: Quiesce, error: Exception
) -> None:
    world.examine = lambda machine, run_id, verify: fails(error)
    run = world.service(verify=Verify.CHECKSUM, quiesce=quiesce).run("nightly")

    assert (run.state, exit_code(run)) == (State.FAILED, 1)
    assert run.error is not None
    assert "it is there, but its examination failed: " in run.error
    assert str(error) in run.error
    assert storage.snapshots == {f"quiesce-{run.id}"}
    assert run.targets[0].snapshot is not None


def test_what_is_known_of_the_cut_is_published_with_it(world: World, storage: Storage) -> None:
    run = world.service(mountpoints=("/data",)).run("nightly")
    hooks = Step("vm", Action.ASK, Outcome.DONE, run.started_at, 0.0, 0.0, {"hooks_ran": True})

    cut = cut_of(run.steps)
    assert (cut.consistency, cut.proof.mountpoints) == (Consistency.FILESYSTEM, ("/data",))
    assert cut_of([*run.steps, hooks]).consistency is Consistency.APPLICATION


def test_what_was_not_published_is_not_examined(world: World, storage: Storage) -> None:
    storage.before["publish"].append(lambda: fails(Rejected("the disk is full")))
    run = world.service(verify=Verify.BOOT).run("nightly")

    assert run.state is State.FAILED
    assert outcomes(run, Action.EXAMINE) == []


def test_a_run_that_is_killed_while_it_examines_has_its_backup(world: World, storage: Storage) -> None:
    world.examine = lambda machine, run_id, verify: killed()
    with pytest.raises(Killed):
        world.service(verify=Verify.BOOT).run("nightly")
    world.die()

    (run,) = world.service().recover()

    assert (run.state, run.consistency) == (State.RECOVERED, Consistency.FILESYSTEM)
    assert storage.snapshots == {f"quiesce-{run.id}"}
