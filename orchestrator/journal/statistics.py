"""What the history answers as a whole, counted by the database; and how what is too old for it goes."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, delete, exists, func, select

from orchestrator import states
from orchestrator.answers import Frozen, LastGood, Tally, Unquiesced
from orchestrator.journal.database import Database
from orchestrator.journal.tables import is_good, requests, runs, snapshots, steps, targets
from orchestrator.model import Consistency

#: Runs that one transaction deletes: nobody waits long for its turn.
_BATCH = 500


class SqlStatistics:
    """`ports.Statistics` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tally(self, since: datetime) -> Sequence[Tally]:
        """See `ports.Statistics`."""
        alike = runs.c.job_name, runs.c.state, runs.c.consistency
        query = select(*alike, func.count()).where(runs.c.started_at >= since).group_by(*alike).order_by(*alike)
        with self._database.reading() as connection:
            return [Tally(*row) for row in connection.execute(query)]

    def unquiesced(self, since: datetime, limit: int) -> Sequence[Unquiesced]:
        """See `ports.Statistics`."""
        query = (
            select(targets, runs.c.job_name, runs.c.started_at)
            .join(runs)
            .where(runs.c.started_at >= since, targets.c.consistency == Consistency.CRASH)
            .order_by(runs.c.started_at.desc(), targets.c.machine)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return [
                Unquiesced(row.run_id, row.job_name, row.machine, row.started_at, row.state, row.error)
                for row in connection.execute(query)
            ]

    def frozen(self, since: datetime) -> Sequence[Frozen]:
        """See `ports.Statistics`."""
        longest = func.max(targets.c.window_ms)
        query = (
            select(
                targets.c.machine, func.count().label("windows"), func.avg(targets.c.window_ms).label("mean"), longest
            )
            .join(runs)
            .where(runs.c.started_at >= since, targets.c.window_ms.is_not(None))
            .group_by(targets.c.machine)
            .order_by(longest.desc(), targets.c.machine)
        )
        with self._database.reading() as connection:
            return [Frozen(*row) for row in connection.execute(query)]

    def last_good(self) -> Sequence[LastGood]:
        """See `ports.Statistics`."""
        with self._database.reading() as connection:
            return last_good(connection)

    def forget(self, before: datetime) -> int:
        """See `ports.Statistics`."""
        whole = exists().where(snapshots.c.run_id == runs.c.id, snapshots.c.removed_at.is_(None))
        old = (
            select(runs.c.id)
            .where(runs.c.finished_at < before, runs.c.state.not_in(states.OPEN), ~whole)
            .order_by(runs.c.finished_at)
            .limit(_BATCH)
        )
        forgotten = 0
        while True:
            with self._database.writing() as connection:
                found = connection.scalars(old).all()
                for table in (steps, snapshots, targets, requests):
                    connection.execute(delete(table).where(table.c.run_id.in_(found)))
                connection.execute(delete(runs).where(runs.c.id.in_(found)))
            forgotten += len(found)
            if len(found) < _BATCH:
                return forgotten

    def vacuum(self) -> None:
        """See `ports.Statistics`."""
        self._database.vacuum()


def last_good(connection: Connection) -> Sequence[LastGood]:
    """The newest good run of each machine that has one, by the machine's name.

    From machine to machine in the index of good targets, and in each to its newest one: grouping would read them all.
    """
    first = select(func.min(targets.c.machine).label("machine")).where(is_good)
    machines = first.cte("machines", recursive=True)
    following = select(func.min(targets.c.machine)).where(is_good, targets.c.machine > machines.c.machine)
    machines = machines.union_all(select(following.scalar_subquery()).where(machines.c.machine.is_not(None)))
    newest = (
        select(targets.c.run_id)
        .where(is_good, targets.c.machine == machines.c.machine)
        .order_by(targets.c.started_at.desc(), targets.c.run_id.desc())
        .limit(1)
        .scalar_subquery()
    )
    found = select(machines.c.machine, newest.label("run_id")).where(machines.c.machine.is_not(None)).subquery()
    query = (
        select(targets.c.machine, targets.c.run_id, targets.c.started_at)
        .join(found, (targets.c.run_id == found.c.run_id) & (targets.c.machine == found.c.machine))
        .order_by(targets.c.machine)
    )
    return [LastGood(*row) for row in connection.execute(query)]
