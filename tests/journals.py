"""Journals for the tests, empty and one per test: on a SQLite file and on a real PostgreSQL."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.journal import SqlJournal
from orchestrator.model import Action, Job, Machine, Outcome, Owner, Run, Step, Target, Trigger
from tests.postgres import Cluster

OURS = Owner("host", "boot", 1, 100)
THEIRS = Owner("host", "boot", 2, 200)
NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


class StoppedClock(SystemClock):
    """Wall-clock time stands at `NOW`."""

    def now(self) -> datetime:
        return NOW


def a_run(run_id: str, *machines: str, job: str = "nightly", group: bool = False, at: datetime = NOW) -> Run:
    """A run that has not begun, of a job over these machines."""
    return Run(
        id=run_id,
        job=Job(job, machines, "external-snapshot", group=group, options={"prefix": "q"}),
        trigger=Trigger.SCHEDULE,
        owner=OURS,
        started_at=at,
        targets=tuple(Target(Machine(machine, agent=f"/run/{machine}.sock")) for machine in machines),
    )


def a_step(machine: str, number: int = 0, action: Action = Action.FREEZE) -> Step:
    """A step that can be told apart by its number."""
    return Step(machine, action, Outcome.DONE, NOW, monotonic=number + 0.25, duration_ms=1.5, figures={"n": number})


def open_journal(url: str) -> SqlJournal:
    """The journal at `url`, with a clock that stands still."""
    return SqlJournal.open(url, StoppedClock())


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty journal, to be copied."""
    path = tmp_path_factory.mktemp("journal") / "journal.db"
    open_journal(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Cluster) -> str:
    """The database of an empty journal, to be copied."""
    database = postgres.create()
    open_journal(postgres.url(database)).close()
    return database


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """An empty journal of the test's own, in SQLite."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path)}"


@pytest.fixture
def postgres_url(postgres: Cluster, postgres_template: str) -> Iterator[str]:
    """An empty journal of the test's own, in PostgreSQL."""
    database = postgres.create(postgres_template)
    yield postgres.url(database)
    postgres.drop(database)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """An empty journal of the test's own, on each engine in turn."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def journal(url: str) -> Iterator[SqlJournal]:
    """The journal at `url`."""
    journal = open_journal(url)
    yield journal
    journal.close()
