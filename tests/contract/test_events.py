"""The feed of what is written about runs, on each engine."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine, text

from orchestrator.journal import SqlJournal
from orchestrator.model import Event, Position, State
from tests.journals import NOW, a_run, a_step, open_journal


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """An empty journal on each engine in turn."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def journal(url: str) -> Iterator[SqlJournal]:
    with closing(open_journal(url)) as opened:
        yield opened


def told(journal: SqlJournal, position: Position) -> list[tuple[str, list[float]]]:
    """The runs of the events behind `position`, and what tells the steps of each apart."""
    return [
        (event.run.id, [step.figures["n"] for step in event.steps]) for event in journal.events().after(position, 99)
    ]


def test_every_write_about_a_run_is_told_once_and_in_order(journal: SqlJournal) -> None:
    start = journal.events().newest()
    assert journal.events().after(start, 9) == []
    one = journal.open_run(a_run("r1", "db1"))
    journal.open_run(a_run("r2", "db2"))
    journal.record(one, [a_step("db1", 1), a_step("db1", 2)])
    journal.move(one, replace(one.targets[0], state=State.RUNNING), [a_step("db1", 3)])
    assert told(journal, start) == [("r1", []), ("r2", []), ("r1", [1, 2]), ("r1", [3])]


def test_who_comes_again_goes_on_behind_what_it_saw(journal: SqlJournal) -> None:
    one = journal.open_run(a_run("r1", "db1"))
    journal.record(one, [a_step("db1", 1)])
    journal.record(one, [a_step("db1", 2)])
    first: Event
    first, *others = journal.events().after(Position(0, 0), 2)
    assert len(others) == 1
    again = Position.parse(str(first.at))
    assert told(journal, again) == [("r1", [1]), ("r1", [2])]
    assert journal.events().reaches(again)
    assert told(journal, journal.events().newest()) == []


def test_an_event_tells_how_the_run_is_now(journal: SqlJournal) -> None:
    one = journal.open_run(a_run("r1", "db1"))
    journal.move(one, replace(one.targets[0], state=State.RUNNING), [])
    assert [event.run.state for event in journal.events().after(Position(0, 0), 9)] == [State.RUNNING] * 2


def test_runs_that_were_forgotten_are_not_told(journal: SqlJournal) -> None:
    one = journal.open_run(a_run("r1", "db1"))
    journal.move(one, replace(one.targets[0], state=State.FAILED), [])
    journal.open_run(a_run("r2", "db2"))
    assert journal.statistics().forget(NOW + timedelta(days=1)) == 1
    assert told(journal, Position(0, 0)) == [("r2", [])]


def test_what_is_too_old_is_trimmed_and_who_waited_for_it_is_told(
    journal: SqlJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.journal.events._KEPT", 2)
    one = journal.open_run(a_run("r1", "db1"))
    first = journal.events().newest()
    for number in range(3):
        journal.record(one, [a_step("db1", number)])
    assert journal.events().reaches(first)
    journal.events().trim()
    assert not journal.events().reaches(first)
    assert told(journal, first) == [("r1", [1]), ("r1", [2])]


@pytest.mark.postgres
def test_nothing_is_lost_when_a_later_writer_commits_first(postgres_url: str) -> None:
    with closing(open_journal(postgres_url)) as journal, _writing_slowly(postgres_url, "r1") as commit:
        start = journal.events().newest()
        journal.open_run(a_run("r1", "db1"))
        assert told(journal, start) == []  # somebody with an earlier turn is still at it
        commit()
        assert told(journal, start) == [("r1", []), ("r1", [])]


@contextmanager
def _writing_slowly(url: str, run_id: str) -> Iterator[Callable[[], None]]:
    """Another process, in a transaction that has written an event, until what is yielded is called."""
    engine = create_engine(url)
    with engine.connect() as connection:
        turn = "pg_current_xact_id()::text::bigint"
        insert = f"INSERT INTO events (turn, run_id, first, last) VALUES ({turn}, '{run_id}', 0, 0)"  # noqa: S608
        connection.execute(text(insert.replace(":", r"\:")))
        yield connection.commit
    engine.dispose()
