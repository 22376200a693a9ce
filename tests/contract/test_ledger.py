"""The history page by page, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.answers import Filter, LastGood, Mark, Overview, Success, Window
from orchestrator.journal import SqlJournal
from orchestrator.model import Consistency, Run, State
from tests.journals import NOW, a_run, a_step

HOUR = timedelta(hours=1)


def ended(journal: SqlJournal, run: Run, state: State, consistency: Consistency) -> None:
    """That run, all of whose targets end so."""
    journal.open_run(run)
    for target in run.targets:
        running = replace(target, state=State.RUNNING)
        journal.move(run, running, [a_step(target.machine.name)])
        journal.move(run, replace(running, state=state, consistency=consistency), ())


@pytest.fixture
def five(journal: SqlJournal) -> SqlJournal:
    """A journal with runs `r0` to `r4`; two of them began at the same moment."""
    for number, (job, machines, at, state, consistency) in enumerate(
        [
            ("a", ("db1", "db2"), NOW, State.DONE, Consistency.FILESYSTEM),
            ("b", ("db1",), NOW + HOUR, State.DONE, Consistency.CRASH),
            ("a", ("db2",), NOW + HOUR, State.FAILED, Consistency.NONE),
            ("b", ("db1",), NOW + 2 * HOUR, State.DONE, Consistency.FILESYSTEM),
            ("a", ("db2",), NOW + 3 * HOUR, State.DONE, Consistency.CRASH),
        ]
    ):
        ended(journal, a_run(f"r{number}", *machines, job=job, at=at), state, consistency)
    return journal


def ids(runs: tuple[Run, ...]) -> str:
    return " ".join(run.id for run in runs)


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_the_pages_together_are_the_history(five: SqlJournal, limit: int) -> None:
    ledger, before = five.ledger(), None
    seen: list[Run] = []
    while page := ledger.page(Filter(), before, limit):
        assert len(page) <= limit
        seen += page
        before = Mark.of(page[-1])
    assert ids(tuple(seen)) == "r4 r3 r2 r1 r0"
    assert tuple(seen) == five.history(9)


def test_a_run_that_begins_meanwhile_moves_nothing(five: SqlJournal) -> None:
    first = five.ledger().page(Filter(), None, 2)
    five.open_run(a_run("r5", "db3", at=NOW + 4 * HOUR))
    assert ids(five.ledger().page(Filter(), Mark.of(first[-1]), 2)) == "r2 r1"


@pytest.mark.parametrize(
    ("which", "found"),
    [
        (Filter(job="a"), "r4 r2 r0"),
        (Filter(machine="db2"), "r4 r2 r0"),
        (Filter(machine="db1"), "r3 r1 r0"),
        (Filter(state=State.FAILED), "r2"),
        (Filter(consistency=Consistency.CRASH), "r4 r1"),
        (Filter(since=NOW + HOUR), "r4 r3 r2 r1"),
        (Filter(until=NOW + HOUR), "r0"),
        (Filter(since=NOW + HOUR, until=NOW + 2 * HOUR), "r2 r1"),
        (Filter(job="b", machine="db1", state=State.DONE, consistency=Consistency.FILESYSTEM), "r3"),
        (Filter(job="\0"), ""),
    ],
)
def test_a_page_can_be_narrowed_and_leafed_through(five: SqlJournal, which: Filter, found: str) -> None:
    ledger = five.ledger()
    assert ids(ledger.page(which, None, 9)) == found
    if found:
        first = ledger.page(which, None, 1)
        assert ids((*first, *ledger.page(which, Mark.of(first[0]), 9))) == found


def test_a_run_on_a_page_has_all_its_machines_and_none_of_its_steps(five: SqlJournal) -> None:
    run = five.ledger().page(Filter(machine="db1"), None, 9)[-1]
    assert run == replace(five.run("r0"), steps=())
    assert len(run.targets) == 2


def test_the_overview_is_what_is_open_what_failed_and_who_is_well(five: SqlJournal) -> None:
    ended(five, a_run("r5", "db3", job="old", at=NOW - 99 * HOUR), State.RECOVERED, Consistency.NONE)
    open_one = five.open_run(a_run("r6", "db4", job="c", at=NOW + 4 * HOUR))
    five.record(open_one, [a_step("db4")])
    found = five.ledger().overview(NOW, 9)
    assert found == Overview(
        open=(five.run("r6"),),
        failures=(replace(five.run("r2"), steps=()), replace(five.run("r5"), steps=())),
        success=[Success("a", ended=3, done=2), Success("b", ended=2, done=2)],
        last_good=[LastGood("db1", "r3", NOW + 2 * HOUR), LastGood("db2", "r0", NOW)],
    )
    assert ids(tuple(five.ledger().overview(NOW, 1).failures)) == "r2"


def test_an_empty_journal_has_an_overview(journal: SqlJournal) -> None:
    assert journal.ledger().overview(NOW, 9) == Overview((), (), [], [])


def test_of_two_good_runs_that_began_at_once_the_last_by_its_id_counts(journal: SqlJournal) -> None:
    for run_id in ("r2", "r1"):
        ended(journal, a_run(run_id, "db1"), State.DONE, Consistency.APPLICATION)
    assert journal.ledger().overview(NOW, 9).last_good == [LastGood("db1", "r2", NOW)]


def test_the_last_windows_of_a_machine_are_told_oldest_first(journal: SqlJournal) -> None:
    for number, window in enumerate([10.0, None, 30.0, 40.0]):
        run = journal.open_run(a_run(f"r{number}", "db1", "db2", at=NOW + number * HOUR))
        for target in run.targets:
            running = replace(target, state=State.RUNNING)
            journal.move(run, running, ())
            hold = None if window is None else window / 2
            journal.move(run, replace(running, state=State.DONE, window_ms=window, hold_ms=hold), ())
    found = journal.ledger().windows("db1", 2)
    assert found == [
        Window("r2", NOW + 2 * HOUR, State.DONE, 30.0, 15.0),
        Window("r3", NOW + 3 * HOUR, State.DONE, 40.0, 20.0),
    ]
    assert [window.run for window in journal.ledger().windows("db2", 9)] == ["r0", "r2", "r3"]
    assert journal.ledger().windows("db9", 9) == []


@pytest.mark.parametrize("run_id", ["20260329-013000-abcdef", "~", "a b/ü"])
def test_a_mark_survives_being_written_down(run_id: str) -> None:
    mark = Mark(NOW, run_id)
    assert Mark.parse(str(mark)) == mark


@pytest.mark.parametrize("text", ["", "~", "2026", "20260329T013000.123456Z", "yesterday~r1"])
def test_what_is_no_mark_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(ValueError):
        Mark.parse(text)
