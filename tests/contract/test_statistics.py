"""What the history answers as a whole, on SQLite and PostgreSQL."""

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.answers import Frozen, LastGood, Tally, Unquiesced
from orchestrator.errors import NotFound
from orchestrator.journal import SqlJournal
from orchestrator.model import Action, Consistency, Outcome, State
from tests.journals import NOW, a_run, a_step, open_journal

DAY = timedelta(days=1)


def ended(journal: SqlJournal, run_id: str, machine: str, days_ago: float, state: State, **fields: Any) -> None:
    """A run of one machine that began and ended so long ago, by the journal's own moves."""
    at = NOW - days_ago * DAY
    journal._clock.now = lambda: at  # type: ignore[method-assign]  # a journal of that day
    run = journal.open_run(a_run(run_id, machine, at=at))
    target = replace(run.targets[0], state=State.RUNNING)
    journal.move(run, target, [a_step(machine)])
    if state is not State.RUNNING:
        journal.move(run, replace(target, state=state, **fields), [a_step(machine, 1)])


def test_what_is_not_quiesced_is_named_with_its_reason(journal: SqlJournal) -> None:
    crash = {"consistency": Consistency.CRASH}
    ended(journal, "r1", "db1", 40, State.DONE, **crash, error="long ago")
    ended(journal, "r2", "db1", 2, State.DONE, **crash, error="the guest was not frozen")
    ended(journal, "r3", "db2", 1, State.FAILED, **crash, error="no answer")
    ended(journal, "r4", "db3", 1, State.DONE, consistency=Consistency.FILESYSTEM)
    ended(journal, "r5", "db4", 1, State.FAILED, error="no cut at all")
    found = journal.statistics().unquiesced(NOW - 30 * DAY, 10)
    assert list(found) == [
        Unquiesced("r3", "nightly", "db2", NOW - DAY, State.FAILED, "no answer"),
        Unquiesced("r2", "nightly", "db1", NOW - 2 * DAY, State.DONE, "the guest was not frozen"),
    ]
    assert len(journal.statistics().unquiesced(NOW - 30 * DAY, 1)) == 1


def test_runs_are_counted_by_how_they_ended(journal: SqlJournal) -> None:
    ended(journal, "r1", "db1", 3, State.DONE, consistency=Consistency.FILESYSTEM)
    ended(journal, "r2", "db1", 2, State.DONE, consistency=Consistency.FILESYSTEM)
    ended(journal, "r3", "db2", 1, State.RUNNING)
    ended(journal, "r4", "db1", 40, State.DONE)
    assert list(journal.statistics().tally(NOW - 30 * DAY)) == [
        Tally("nightly", State.DONE, Consistency.FILESYSTEM, 2),
        Tally("nightly", State.RUNNING, Consistency.NONE, 1),
    ]


def test_who_was_frozen_and_how_long(journal: SqlJournal) -> None:
    ended(journal, "r1", "db1", 3, State.DONE, window_ms=100.0)
    ended(journal, "r2", "db1", 2, State.DONE, window_ms=300.0)
    ended(journal, "r3", "db2", 1, State.FAILED, window_ms=5000.0)
    ended(journal, "r4", "db3", 1, State.DONE)
    ended(journal, "r5", "db1", 40, State.DONE, window_ms=9000.0)
    assert list(journal.statistics().frozen(NOW - 30 * DAY)) == [
        Frozen("db2", 1, 5000.0, 5000.0),
        Frozen("db1", 2, 200.0, 300.0),
    ]


def test_the_last_good_run_of_each_machine(journal: SqlJournal) -> None:
    good = {"consistency": Consistency.FILESYSTEM}
    ended(journal, "r1", "db1", 9, State.DONE, **good)
    ended(journal, "r2", "db1", 8, State.DONE, consistency=Consistency.APPLICATION)
    ended(journal, "r3", "db1", 7, State.DONE, consistency=Consistency.CRASH)
    ended(journal, "r4", "db1", 6, State.RECOVERED, **good)
    ended(journal, "r5", "db2", 5, State.FAILED, **good)
    ended(journal, "r6", "db3", 400, State.DONE, **good)
    assert list(journal.statistics().last_good()) == [
        LastGood("db1", "r2", NOW - 8 * DAY),
        LastGood("db3", "r6", NOW - 400 * DAY),
    ]


def test_what_is_old_is_forgotten_unless_something_of_it_is_left(journal: SqlJournal) -> None:
    snapshot = {"snapshot": {"name": "quiesce-x", "disks": []}}
    ended(journal, "old", "db1", 500, State.DONE)
    ended(journal, "young", "db1", 10, State.DONE)
    ended(journal, "open", "db2", 500, State.RUNNING)
    ended(journal, "stuck", "db3", 500, State.STUCK)
    ended(journal, "kept", "db4", 500, State.DONE, **snapshot)
    ended(journal, "removed", "db5", 500, State.DONE, **snapshot)
    journal.record(journal.run("removed"), [replace(a_step("db5", 2, Action.REMOVE), outcome=Outcome.INTENT)])
    journal.record(journal.run("removed"), [a_step("db5", 3, Action.REMOVE)])
    statistics = journal.statistics()
    assert statistics.forget(NOW - 400 * DAY) == 2
    assert statistics.forget(NOW - 400 * DAY) == 0
    for gone in ("old", "removed"):
        with pytest.raises(NotFound):
            journal.run(gone)
    assert [run.id for run in journal.history(10)] == ["stuck", "young", "open", "kept"]


def test_a_vacuum_loses_nothing(url: str) -> None:
    with closing(open_journal(url)) as journal:
        ended(journal, "r1", "db1", 1, State.DONE)
        journal.statistics().vacuum()
        assert journal.run("r1").state is State.DONE
        ended(journal, "r2", "db1", 0, State.DONE)
    with closing(open_journal(url)) as journal:
        assert len(journal.history(10)) == 2
