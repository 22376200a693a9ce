"""The history page by page, and at one glance: at the price of what is shown, whatever there is.

Each query walks an index from its newest end and stops; only how often each job was done is counted, within an index.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, select, tuple_, union_all

from orchestrator import states
from orchestrator.answers import Filter, Mark, Overview, Success, Window
from orchestrator.journal.database import Database
from orchestrator.journal.loading import NEWEST_FIRST, load
from orchestrator.journal.statistics import last_good
from orchestrator.journal.tables import runs, targets
from orchestrator.model import Run, State

#: Of a run that did not do what was asked, and that nobody ended or turned away.
_FAILURES = State.FAILED, State.RECOVERED
#: How a run ends that is not done.
_OTHERWISE = sorted(set(State) - states.OPEN - {State.DONE})


class SqlLedger:
    """`ports.Ledger` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, which: Filter, before: Mark | None, limit: int) -> tuple[Run, ...]:
        """See `ports.Ledger`."""
        wanted = select(runs.c.id).where(*_conditions(which)).limit(limit)
        if which.machine is None:
            place = runs.c.started_at, runs.c.id
        else:
            place = targets.c.started_at, targets.c.run_id
            wanted = wanted.join(targets).where(targets.c.machine == which.machine)
        wanted = wanted.order_by(*(column.desc() for column in place))
        if before is not None:
            wanted = wanted.where(tuple_(*place) < tuple_(before.started_at, before.id))
        with self._database.reading() as connection:
            return _newest_first(connection, connection.scalars(wanted).all())

    def overview(self, since: datetime, failures: int) -> Overview:
        """See `ports.Ledger`."""
        with self._database.reading() as connection:
            return Overview(
                open=load(connection, runs.c.state.in_(states.OPEN)),
                failures=_last_failures(connection, failures),
                success=_success(connection, since),
                last_good=last_good(connection),
            )

    def windows(self, machine: str, limit: int) -> Sequence[Window]:
        """See `ports.Ledger`."""
        query = (
            select(targets)
            .where(targets.c.machine == machine, targets.c.window_ms.is_not(None))
            .order_by(targets.c.started_at.desc(), targets.c.run_id.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        return [Window(row.run_id, row.started_at, row.state, row.window_ms, row.hold_ms) for row in reversed(found)]


def _conditions(which: Filter) -> Iterator[ColumnElement[bool]]:
    if which.job is not None:
        yield runs.c.job_name == which.job
    if which.state is not None:
        yield runs.c.state == which.state
    if which.consistency is not None:
        yield runs.c.consistency == which.consistency
    if which.since is not None:
        yield runs.c.started_at >= which.since
    if which.until is not None:
        yield runs.c.started_at < which.until


def _last_failures(connection: Connection, limit: int) -> tuple[Run, ...]:
    # One walk for each state: for both at once, either engine would read all of their runs.
    newest = (
        select(runs.c.id, runs.c.started_at)
        .where(runs.c.state == state)
        .order_by(*NEWEST_FIRST)
        .limit(limit)
        .subquery()
        for state in _FAILURES
    )
    both = union_all(*map(select, newest)).subquery()
    ids = select(both.c.id).order_by(both.c.started_at.desc(), both.c.id.desc()).limit(limit)
    return _newest_first(connection, connection.scalars(ids).all())


def _newest_first(connection: Connection, ids: Sequence[str]) -> tuple[Run, ...]:
    return load(connection, runs.c.id.in_(ids), with_steps=False)[::-1]


def _success(connection: Connection, since: datetime) -> Sequence[Success]:
    """From job to job in the index of jobs and states, where one state's runs are counted from `since` to the end."""
    first = select(func.min(runs.c.job_name).label("name"))
    jobs = first.cte("jobs", recursive=True)
    following = select(func.min(runs.c.job_name)).where(runs.c.job_name > jobs.c.name)
    jobs = jobs.union_all(select(following.scalar_subquery()).where(jobs.c.name.is_not(None)))

    def count(*states: State) -> ScalarSelect[int]:
        these = runs.c.job_name == jobs.c.name, runs.c.state.in_(states), runs.c.started_at >= since
        return select(func.count()).select_from(runs).where(*these).scalar_subquery()

    query = select(jobs.c.name, count(State.DONE), count(*_OTHERWISE)).where(jobs.c.name.is_not(None))
    return [Success(job, done + other, done) for job, done, other in connection.execute(query) if done + other]
