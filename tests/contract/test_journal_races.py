"""The journal under many threads and processes at once, and under SIGKILL, on each engine."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from orchestrator.errors import Superseded
from orchestrator.journal import SqlJournal
from orchestrator.model import Owner, State
from tests.journals import THEIRS, a_run, a_step, open_journal

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.journals"])

ROUNDS = 8


def at_once(works: Sequence[Callable[[], Any]]) -> list[Any]:
    """Do all of it at the same time, each on a thread of its own; return what they returned."""
    barrier = threading.Barrier(len(works))

    def work(one: Callable[[], Any]) -> Any:
        barrier.wait()
        return one()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(work, works))


def succeeds(work: Callable[..., Any], *arguments: Any) -> bool:
    """Whether a guarded write landed."""
    try:
        work(*arguments)
    except Superseded:
        return False
    return True


# Processes


def race(url: str, racer: int, group: bool, barrier: Any, results: Any) -> None:
    """Open a run on the same machines as all other racers in each round, named in an order of our own."""
    journal = open_journal(url)
    for number in range(ROUNDS):
        machines = [f"{letter}{number}" for letter in "abc"]
        barrier.wait()
        run = journal.open_run(a_run(f"{number}-{racer}", *machines[racer:], *machines[:racer], group=group))
        results.put((number, {t.machine.name for t in run.targets if t.state is State.PENDING}))
    journal.close()


@pytest.mark.parametrize("group", [False, True], ids=["single", "group"])
def test_of_several_processes_exactly_one_gets_a_machine(url: str, group: bool) -> None:
    racers = 3
    barrier, results = PROCESSES.Barrier(racers), PROCESSES.Queue()
    processes = [PROCESSES.Process(target=race, args=(url, i, group, barrier, results)) for i in range(racers)]
    for process in processes:
        process.start()
    got = [results.get(timeout=60) for _ in range(racers * ROUNDS)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * racers
    for number in range(ROUNDS):
        won = [machines for round_, machines in got if round_ == number and machines]
        assert sorted(itertools.chain(*won)) == [f"{letter}{number}" for letter in "abc"]
        assert len(won) == 1 or not group


def append_steps(url: str, machine: str, barrier: Any) -> None:
    """Record steps of that machine, all in the same run, while other processes do so too."""
    journal = open_journal(url)
    run = journal.run("r1")
    barrier.wait()
    for number in range(40):
        journal.record(run, [a_step(machine, number)])
    journal.close()


def test_steps_of_several_processes_all_arrive(url: str, journal: SqlJournal) -> None:
    machines = ["db1", "db2", "db3"]
    journal.open_run(a_run("r1", *machines))
    barrier = PROCESSES.Barrier(len(machines))
    processes = [PROCESSES.Process(target=append_steps, args=(url, machine, barrier)) for machine in machines]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(machines)
    for machine in machines:
        assert [step.figures["n"] for step in journal.run("r1").steps_of(machine)] == list(range(40))


# Threads


def test_a_machine_that_changes_hands_quickly_is_never_in_two_of_them(journal: SqlJournal) -> None:
    held = threading.Lock()
    numbers = itertools.count()

    def take_and_leave() -> None:
        for _ in range(5):
            while (run := journal.open_run(a_run(f"r{next(numbers)}", "db1"))).state is State.REFUSED:
                pass
            assert held.acquire(blocking=False)
            assert journal.run(run.id) == run
            held.release()
            journal.move(run, replace(run.targets[0], state=State.CANCELLED), ())

    at_once([take_and_leave] * 6)  # which ends, because a machine that is free is given to somebody


def test_steps_are_numbered_without_a_gap_whoever_appends(url: str, journal: SqlJournal) -> None:
    machines = [f"db{number}" for number in range(6)]
    run = journal.open_run(a_run("r1", *machines))

    def append(machine: str) -> None:
        for number in range(0, 30, 3):
            journal.record(run, [a_step(machine, number + offset) for offset in range(3)])
        journal.move(run, replace(run.target(machine), state=State.RUNNING), [a_step(machine, 30)])

    at_once([partial(append, machine) for machine in machines])
    engine = create_engine(url)
    with engine.connect() as connection:
        numbers = connection.scalars(text("SELECT seq FROM steps ORDER BY seq")).all()
    engine.dispose()
    assert numbers == list(range(1, 6 * 31 + 1))
    ended = journal.run("r1")
    assert ended.state is State.RUNNING
    for machine in machines:
        assert [step.figures["n"] for step in ended.steps_of(machine)] == list(range(31))


def test_of_several_moves_of_one_target_exactly_one_lands(journal: SqlJournal) -> None:
    for number in range(ROUNDS):
        run = journal.open_run(a_run(f"r{number}", f"db{number}"))
        ends = [State.RUNNING, State.FAILED, State.CANCELLED, State.RECOVERED, State.REFUSED]
        moves = [(run, replace(run.targets[0], state=end), [a_step(f"db{number}")]) for end in ends]
        landed = at_once([partial(succeeds, journal.move, *move) for move in moves])
        now = journal.run(run.id)
        # RUNNING may be followed by one of the others, which are all final.
        assert sum(landed[1:]) <= 1
        assert len(now.steps) == sum(landed) in ((1, 2) if landed[0] else (1,))


def test_of_several_new_owners_exactly_one_gets_the_run(journal: SqlJournal) -> None:
    owners = [Owner("host", "boot", pid, pid) for pid in range(10, 16)]
    for number in range(ROUNDS):
        run = journal.open_run(a_run(f"r{number}", f"db{number}"))
        landed = at_once([partial(succeeds, journal.take_over, run, owner) for owner in owners])
        assert [journal.run(run.id).owner] == [owner for owner, won in zip(owners, landed, strict=True) if won]


def test_an_owner_that_is_replaced_in_the_middle_moves_before_or_not_at_all(journal: SqlJournal) -> None:
    for number in range(ROUNDS):
        run = journal.open_run(a_run(f"r{number}", f"db{number}"))
        move = (run, replace(run.targets[0], state=State.RUNNING), [a_step(f"db{number}")])
        moved, taken = at_once([partial(succeeds, journal.move, *move), partial(journal.take_over, run, THEIRS)])
        assert journal.run(run.id) == replace(
            run.with_target(replace(run.targets[0], state=State.RUNNING)) if moved else run,
            owner=THEIRS,
            state=State.RUNNING if moved else State.PENDING,
            steps=(a_step(f"db{number}"),) if moved else (),
        )
        assert taken.steps == () or moved


# SIGKILL


def die_at(url: str, statement: int) -> None:
    """Move a target and be killed after so many statements, the transaction's beginning included."""
    journal = open_journal(url)
    run = journal.run("r1")
    count = itertools.count(1)

    @event.listens_for(Engine, "after_cursor_execute")
    def kill(*_: Any) -> None:
        if next(count) == statement:
            os.kill(os.getpid(), signal.SIGKILL)

    target = replace(run.targets[0], state=State.DONE, snapshot={"files": ["a"]}, error="slow")
    journal.move(run, target, [a_step("db1", number) for number in range(500)])


def test_a_writer_that_is_killed_anywhere_leaves_all_or_nothing(url: str, journal: SqlJournal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    journal.move(run, replace(run.targets[0], state=State.RUNNING), [a_step("db1")])
    before = journal.run("r1")
    for statement in itertools.count(1):
        process = PROCESSES.Process(target=die_at, args=(url, statement))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        assert journal.run("r1") == before
    assert statement > 5
    after = journal.run("r1")
    assert (after.state, after.error, after.targets[0].snapshot) == (State.DONE, "slow", {"files": ["a"]})
    assert len(after.steps) == 501
