"""The history page by page: at the price of what is shown, whatever there is."""

from collections.abc import Iterator

from sqlalchemy import ColumnElement, select, tuple_

from orchestrator.answers import Filter, Mark
from orchestrator.journal.database import Database
from orchestrator.journal.loading import NEWEST_FIRST, load
from orchestrator.journal.tables import runs, targets
from orchestrator.model import Run


class SqlLedger:
    """`ports.Ledger` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, which: Filter, before: Mark | None, limit: int) -> tuple[Run, ...]:
        """See `ports.Ledger`."""
        wanted = select(runs.c.id).where(*_conditions(which)).order_by(*NEWEST_FIRST).limit(limit)
        if which.machine is not None:
            wanted = wanted.join(targets).where(targets.c.machine == which.machine)
        if before is not None:
            wanted = wanted.where(tuple_(runs.c.started_at, runs.c.id) < tuple_(before.started_at, before.id))
        with self._database.reading() as connection:
            found = load(connection, runs.c.id.in_(connection.scalars(wanted).all()), with_steps=False)
        return found[::-1]


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
