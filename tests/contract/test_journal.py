"""What every journal promises, on each engine (see `ports.Journal`).

Also on the journal in memory, which stands for them in the simulation. What is left out there are races between
processes, outages and schemas: it has no process of its own that could be raced, stopped or outdated.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator import states
from orchestrator.errors import AlreadyRun, JournalError, NotFound, Superseded
from orchestrator.model import Action, Consistency, Machine, Outcome, Run, State, Step, Target, Trigger
from orchestrator.ports import Journal
from tests.fakes.journal import MemoryJournal
from tests.journals import NOW, OURS, THEIRS, StoppedClock, a_run, a_step, open_journal

FURTHER = {State.PENDING: [], State.RUNNING: [State.RUNNING], State.STUCK: [State.RUNNING, State.STUCK]}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "memory"])
def journal(request: pytest.FixtureRequest) -> Iterator[Journal]:
    """An empty journal of each kind in turn."""
    if request.param == "memory":
        yield MemoryJournal(StoppedClock())
        return
    with closing(open_journal(request.getfixturevalue(f"{request.param}_url"))) as opened:
        yield opened


def moved(journal: Journal, run: Run, machine: str, *path: State, **fields: object) -> Run:
    """The run after a machine of it has gone that way; its target has `fields` at the end."""
    for state in path:
        target = replace(run.target(machine), state=state)
        journal.move(run, replace(target, **fields) if state is path[-1] else target, ())  # type: ignore[arg-type]
    return journal.run(run.id)


# Opening


def test_a_new_run_stands_in_the_journal_as_it_was_given(journal: Journal) -> None:
    run = a_run("r1", "db2", "db1")
    assert journal.open_run(run) == run
    assert journal.run("r1") == run


def test_a_run_without_a_job_is_remembered_with_its_first_steps(journal: Journal) -> None:
    run = replace(a_run("r1", "db1"), job=None, trigger=Trigger.THAW, steps=(a_step("db1"),))
    assert journal.open_run(run) == run
    assert journal.history(1) == (replace(run, steps=()),)


@pytest.mark.parametrize("path", FURTHER.values(), ids=FURTHER)
def test_a_machine_in_an_open_run_is_refused_to_another(journal: Journal, path: list[State]) -> None:
    moved(journal, journal.open_run(a_run("r1", "db1")), "db1", *path)
    second = journal.open_run(a_run("r2", "db1", "db2"))
    assert [target.state for target in second.targets] == [State.REFUSED, State.PENDING]
    assert second.target("db1").error == "run r1 is open on this machine"
    assert second.state is State.PENDING
    assert second.error == "db1: run r1 is open on this machine"
    assert journal.run("r2") == second


def test_a_run_that_is_refused_altogether_has_ended_and_holds_nothing(journal: Journal) -> None:
    first = journal.open_run(a_run("r1", "db1"))
    second = journal.open_run(a_run("r2", "db1"))
    assert (second.state, second.finished_at, second.error) == (
        State.REFUSED,
        NOW,
        "run r1 is open on this machine",
    )
    moved(journal, first, "db1", State.RUNNING, State.DONE)
    assert journal.open_run(a_run("r3", "db1")).state is State.PENDING


def test_a_group_with_a_busy_machine_is_refused_as_a_whole_and_holds_nothing(journal: Journal) -> None:
    journal.open_run(a_run("r1", "db2"))
    group = journal.open_run(a_run("r2", "db1", "db2", "db3", group=True))
    assert {target.state for target in group.targets} == {State.REFUSED}
    assert group.target("db2").error == "run r1 is open on this machine"
    assert group.target("db3").error == "the group is refused as a whole: db2 is in run r1"
    assert group.finished_at == NOW
    assert journal.run("r2") == group
    assert journal.open_run(a_run("r3", "db1", "db3")).state is State.PENDING


def test_a_run_that_names_a_machine_twice_or_an_id_that_is_taken_is_not_written(journal: Journal) -> None:
    with pytest.raises(JournalError):
        journal.open_run(a_run("r1", "db1", "db1"))
    journal.open_run(a_run("r2", "db2"))
    with pytest.raises(JournalError):
        journal.open_run(a_run("r2", "db3"))
    assert [run.id for run in journal.history(9)] == ["r2"]


# Moving


def test_a_scheduled_time_has_one_run_of_a_job_for_ever(journal: Journal) -> None:
    first = journal.open_run(replace(a_run("r1", "db1"), scheduled_for=NOW))
    assert journal.run("r1").scheduled_for == NOW
    journal.move(first, replace(first.targets[0], state=State.FAILED), ())
    with pytest.raises(AlreadyRun):
        journal.open_run(replace(a_run("r2", "db1"), scheduled_for=NOW))
    with pytest.raises(NotFound):
        journal.run("r2")
    journal.open_run(replace(a_run("r3", "db2", job="hourly"), scheduled_for=NOW))
    journal.open_run(replace(a_run("r4", "db1"), scheduled_for=NOW + timedelta(microseconds=1)))
    journal.open_run(a_run("r5", "db3"))
    journal.open_run(a_run("r6", "db4"))


def test_a_move_writes_the_target_its_steps_and_what_follows_for_the_run(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    journal.move(run, replace(run.targets[0], state=State.RUNNING), [a_step("db1", 1), a_step("db1", 2)])
    assert journal.run("r1") == replace(
        run.with_target(replace(run.targets[0], state=State.RUNNING)),
        state=State.RUNNING,
        steps=(a_step("db1", 1), a_step("db1", 2)),
    )
    done = Target(
        run.targets[0].machine, State.DONE, Consistency.APPLICATION, 120.5, 80.25, {"disks": ["vda"]}, "a warning"
    )
    journal.move(run, done, [a_step("db1", 3)])
    assert journal.run("r1") == replace(
        run.with_target(done),
        state=State.DONE,
        consistency=Consistency.APPLICATION,
        finished_at=NOW,
        error="a warning",
        steps=tuple(a_step("db1", number) for number in (1, 2, 3)),
    )


def test_a_run_is_what_the_worst_of_its_targets_is_and_ends_with_the_last(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1", "db2"))
    run = moved(
        journal, run, "db1", State.RUNNING, State.DONE, consistency=Consistency.APPLICATION, snapshot={}, error="slow"
    )
    assert (run.state, run.consistency, run.finished_at) == (State.PENDING, Consistency.NONE, None)
    run = moved(
        journal, run, "db2", State.RUNNING, State.FAILED, consistency=Consistency.CRASH, snapshot={}, error="lost"
    )
    assert (run.state, run.consistency, run.finished_at) == (State.FAILED, Consistency.CRASH, NOW)
    assert run.error == "db1: slow; db2: lost"


@pytest.mark.parametrize("before", State)
@pytest.mark.parametrize("after", State)
def test_only_the_moves_of_the_table_land(journal: Journal, before: State, after: State) -> None:
    run = replace(a_run("r1", "db1"), targets=(Target(Machine("db1"), state=before),))
    journal.open_run(run)
    target = replace(run.targets[0], state=after)
    if (before, after) in states.MOVES:
        journal.move(run, target, [a_step("db1")])
        assert journal.run("r1").targets == (target,)
    else:
        with pytest.raises(Superseded):
            journal.move(run, target, [a_step("db1")])
        assert journal.run("r1").targets == run.targets
        assert journal.run("r1").steps == ()


def test_a_move_by_somebody_who_does_not_own_the_run_leaves_no_trace(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    target = replace(run.targets[0], state=State.RUNNING, snapshot={"a": 1}, error="x")
    with pytest.raises(Superseded, match="r1"):
        journal.move(replace(run, owner=THEIRS), target, [a_step("db1")])
    with pytest.raises(Superseded):
        journal.move(run, replace(target, machine=Machine("db9")), ())
    with pytest.raises(Superseded):
        journal.move(replace(run, id="r9"), target, ())
    assert journal.run("r1") == run


def test_stuck_keeps_the_machine_until_a_thaw_is_confirmed(journal: Journal) -> None:
    run = moved(journal, journal.open_run(a_run("r1", "db1")), "db1", State.RUNNING, State.STUCK)
    assert (run.state, run.finished_at) == (State.STUCK, None)
    assert journal.open_run(a_run("r2", "db1")).state is State.REFUSED
    assert moved(journal, run, "db1", State.RECOVERED).finished_at == NOW
    assert journal.open_run(a_run("r3", "db1")).state is State.PENDING


def test_the_snapshot_is_the_one_of_the_last_move(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    run = moved(journal, run, "db1", State.RUNNING, State.STUCK, snapshot={"files": ["a"]})
    assert run.targets[0].snapshot == {"files": ["a"]}
    assert moved(journal, run, "db1", State.RECOVERED, snapshot=None).targets[0].snapshot is None


# Steps


def test_steps_keep_their_order_over_all_calls(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1", "db2"))
    journal.record(run, [a_step("db1", 1), a_step("db2", 2)])
    journal.record(run, [])
    journal.record(run, [a_step("db1", 3)])
    assert [step.figures["n"] for step in journal.run("r1").steps] == [1, 2, 3]


def test_steps_of_a_run_that_is_no_longer_ours_are_still_the_truth(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    journal.take_over(run, THEIRS)
    journal.record(run, [a_step("db1")])
    assert journal.run("r1").steps == (a_step("db1"),)


def test_steps_of_no_run_or_no_machine_of_it_are_not_written(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    with pytest.raises(NotFound):
        journal.record(replace(run, id="r9"), [a_step("db1")])
    with pytest.raises(JournalError):
        journal.record(run, [a_step("db1"), a_step("db9")])
    assert journal.run("r1").steps == ()


# Taking over


def test_whoever_takes_a_run_over_owns_it_alone(journal: Journal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    journal.record(run, [a_step("db1")])
    taken = journal.take_over(run, THEIRS)
    assert taken == replace(run, owner=THEIRS, steps=(a_step("db1"),)) == journal.run("r1")
    with pytest.raises(Superseded):
        journal.take_over(run, OURS)
    with pytest.raises(Superseded):
        journal.move(run, replace(run.targets[0], state=State.RUNNING), ())
    moved(journal, taken, "db1", State.RECOVERED)


def test_a_run_that_has_ended_is_not_taken_over(journal: Journal) -> None:
    run = moved(journal, journal.open_run(a_run("r1", "db1")), "db1", State.CANCELLED)
    with pytest.raises(Superseded):
        journal.take_over(run, THEIRS)
    assert journal.run("r1") == run


# Reading


def test_a_run_is_found_by_an_unambiguous_beginning(journal: Journal) -> None:
    for run_id in ("a1", "a12", "B", "b%_", "é"):
        journal.open_run(a_run(run_id, f"machine-of-{run_id}"))
    found = {given: journal.run(given).id for given in ("a1", "a12", "B", "b", "b%", "é")}
    assert found == {"a1": "a1", "a12": "a12", "B": "B", "b": "b%_", "b%": "b%_", "é": "é"}
    with pytest.raises(NotFound, match="several runs: a1, a12"):
        journal.run("a")
    for unknown in ("c", "%", "_", "a123", "b_", "\0", "\udc80", "\\"):
        with pytest.raises(NotFound, match="no run"):
            journal.run(unknown)


def test_open_runs_come_with_their_steps_oldest_first(journal: Journal) -> None:
    early, late = a_run("r1", "db1", at=NOW - timedelta(hours=1)), a_run("r2", "db2", "db3")
    for run in (late, early):
        journal.open_run(run)
    journal.record(early, [a_step("db1")])
    moved(journal, journal.open_run(a_run("r0", "db4")), "db4", State.FAILED)
    late = moved(journal, late, "db2", State.FAILED)
    assert journal.open_runs() == (replace(early, steps=(a_step("db1"),)), late)
    assert journal.open_runs(apart_from=["r1", "r0", "unknown"]) == (late,)


def test_the_history_names_stuck_runs_first_and_then_the_newest(journal: Journal) -> None:
    for hour in range(6):
        run = journal.open_run(a_run(f"r{hour}", f"db{hour}", at=NOW + timedelta(hours=hour)))
        journal.record(run, [a_step(f"db{hour}")])
        if hour in (1, 3):
            moved(journal, run, f"db{hour}", State.RUNNING, State.STUCK)
    assert [run.id for run in journal.history(9)] == ["r3", "r1", "r5", "r4", "r2", "r0"]
    assert [run.id for run in journal.history(4)] == ["r3", "r1", "r5", "r4"]
    assert [run.id for run in journal.history(1)] == ["r3"]
    assert journal.history(9)[0] == replace(journal.run("r3"), steps=())


def test_the_history_can_be_narrowed(journal: Journal) -> None:
    for number, (job, machines) in enumerate([("a", ("db1", "db2")), ("b", ("db1",)), ("a", ("db2",))]):
        run = journal.open_run(a_run(f"r{number}", *machines, job=job, at=NOW + timedelta(minutes=number)))
        for machine in machines:
            moved(journal, run, machine, State.FAILED if number == 2 else State.CANCELLED)
    narrowed = {
        "r2 r0": journal.history(9, job="a"),
        "r1 r0": journal.history(9, machine="db1"),
        "r2": journal.history(9, state=State.FAILED),
        "r0": journal.history(9, job="a", machine="db1", state=State.CANCELLED),
        "": journal.history(9, job="\0"),
    }
    assert list(narrowed) == [" ".join(run.id for run in found) for found in narrowed.values()]
    assert len(journal.history(1, machine="db2")[0].targets) == 1
    assert len(journal.history(9, machine="db2")[1].targets) == 2


# Snapshots


def with_snapshots(journal: Journal, run: Run) -> Run:
    """The run, ended, with a snapshot of each of its machines."""
    journal.open_run(run)
    for target in run.targets:
        name = target.machine.name
        journal.record(run, [replace(a_step(name, action=Action.CUT), at=run.started_at)])
        moved(journal, run, name, State.RUNNING, State.DONE, snapshot={"name": run.snapshot_name, "of": name})
    return journal.run(run.id)


def removal(machine: str, outcome: Outcome) -> list[Step]:
    return [replace(a_step(machine, action=Action.REMOVE), outcome=outcome)]


def test_snapshots_are_listed_by_job_and_machine_oldest_first(journal: Journal) -> None:
    later = with_snapshots(journal, a_run("r1", "db1", "db2", at=NOW + timedelta(hours=1)))
    earlier = with_snapshots(journal, a_run("r2", "db1", job="hourly"))
    journal.open_run(a_run("r3", "db3"))
    listed = [(found.run.id, found.machine.name, found.created_at) for found in journal.snapshots()]
    at = NOW + timedelta(hours=1)
    assert listed == [("r2", "db1", NOW), ("r1", "db1", at), ("r1", "db2", at)]
    (found,) = journal.snapshots(job="hourly")
    assert found.run == replace(earlier, steps=())
    assert (found.made, found.let_go_at) == ({"name": "quiesce-r2", "of": "db1"}, None)
    assert [found.run.id for found in journal.snapshots(machine="db1")] == ["r2", "r1"]
    assert [found.machine.name for found in journal.snapshots(job="nightly", machine="db2")] == ["db2"]
    assert journal.snapshots(job="hourly", machine="db2") == ()
    assert later.target("db2").snapshot == {"name": "quiesce-r1", "of": "db2"}


def test_a_snapshot_that_is_let_go_cannot_be_restored_and_is_listed_until_it_is_gone(journal: Journal) -> None:
    run = with_snapshots(journal, a_run("r1", "db1", "db2"))
    journal.record(run, removal("db1", Outcome.INTENT))
    assert [target.snapshot for target in journal.run("r1").targets] == [None, {"name": "quiesce-r1", "of": "db2"}]
    assert journal.history(1)[0].targets == journal.run("r1").targets
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN, Outcome.INTENT):
        journal.record(run, removal("db1", outcome))
        assert [(found.machine.name, found.let_go_at) for found in journal.snapshots()] == [("db1", NOW), ("db2", None)]
        assert journal.snapshots(let_go=True) == journal.snapshots(machine="db1")
        assert journal.snapshots()[0].made == {"name": "quiesce-r1", "of": "db1"}
    journal.record(run, removal("db1", Outcome.DONE))
    journal.record(run, removal("db1", Outcome.DONE))
    assert [found.machine.name for found in journal.snapshots()] == ["db2"]
    assert journal.run("r1").target("db1").snapshot is None


def test_a_snapshot_is_distrusted_when_its_last_examination_found_it_wrong(journal: Journal) -> None:
    run = with_snapshots(journal, a_run("r1", "db1", "db2"))
    journal.record(run, [replace(a_step("db2", action=Action.EXAMINE), outcome=Outcome.DONE)])
    seen = []
    for outcome in (Outcome.INTENT, Outcome.FAILED, Outcome.INTENT, Outcome.UNKNOWN, Outcome.DONE):
        journal.record(run, [replace(a_step("db1", action=Action.EXAMINE), outcome=outcome)])
        assert not journal.snapshots(machine="db2")[0].distrusted
        seen += [found.distrusted for found in journal.snapshots(machine="db1")]
    assert seen == [False, True, True, True, False]


def test_a_removal_whose_intent_was_lost_counts_all_the_same(journal: Journal) -> None:
    run = with_snapshots(journal, a_run("r1", "db1"))
    journal.record(run, removal("db1", Outcome.DONE))
    assert journal.snapshots() == ()
    assert journal.run("r1").target("db1").snapshot is None
