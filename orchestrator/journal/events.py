"""The feed of what is written about runs.

On PostgreSQL, who takes a number first may commit last. So an event also carries its transaction's number, its *turn*,
and is told only when no older transaction is open any more: what comes later has a later turn. SQLite has one writer
at a time, and needs no turns.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Function,
    Text,
    cast,
    delete,
    func,
    literal,
    select,
    tuple_,
)

from orchestrator.journal import rows
from orchestrator.journal.database import Database
from orchestrator.journal.loading import load
from orchestrator.journal.tables import events, runs, steps
from orchestrator.model import Event, Position, Step

#: How many events are kept, each of some fifty bytes.
_KEPT = 100_000
_IN_ORDER = events.c.turn, events.c.id


def announce(connection: Connection, run_id: str, first: int, last: int) -> None:
    """Let the feed tell that the steps from `first` to `last` of a run were written, or, with 0, something else."""
    turn = _number(func.pg_current_xact_id()) if _has_turns(connection) else literal(0)
    connection.execute(events.insert().values(turn=turn, run_id=run_id, first=first, last=last))


class SqlEvents:
    """`ports.Events` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> Position:
        """See `ports.Events`."""
        last_first = [column.desc() for column in _IN_ORDER]
        with self._database.reading() as connection:
            last = select(*_IN_ORDER).where(*_told(connection)).order_by(*last_first).limit(1)
            row = connection.execute(last).one_or_none()
            return Position(0, 0) if row is None else Position(*row)

    def after(self, position: Position, limit: int) -> Sequence[Event]:
        """See `ports.Events`."""
        behind = tuple_(*_IN_ORDER) > tuple_(position.turn, position.number)
        with self._database.reading() as connection:
            wanted = select(events).where(behind, *_told(connection)).order_by(*_IN_ORDER).limit(limit)
            found = connection.execute(wanted).all()
            written = _written(connection, [row.id for row in found])
            named = runs.c.id.in_({row.run_id for row in found})
            known = {run.id: run for run in load(connection, named, with_steps=False)}
        return [
            Event(Position(row.turn, row.id), known[row.run_id], tuple(written[row.id]))
            for row in found
            if row.run_id in known
        ]

    def reaches(self, position: Position) -> bool:
        """See `ports.Events`."""
        with self._database.reading() as connection:
            there = select(events.c.id).filter_by(turn=position.turn, id=position.number)
            return connection.scalar(there) is not None

    def trim(self) -> None:
        """See `ports.Events`. Also what has a turn that is not to come yet: a copy of another server's database."""
        oldest = select(func.max(events.c.id) - _KEPT).scalar_subquery()
        with self._database.writing() as connection:
            gone = events.c.id <= oldest
            if _has_turns(connection):
                gone |= events.c.turn > _number(func.pg_current_xact_id())
            connection.execute(delete(events).where(gone))


def _has_turns(connection: Connection) -> bool:
    return connection.dialect.name == "postgresql"


def _number(transaction: Function[int]) -> ColumnElement[int]:
    """The number of a transaction, which PostgreSQL lets nobody count with as it is."""
    return cast(cast(transaction, Text), BigInteger)


def _told(connection: Connection) -> Iterator[ColumnElement[bool]]:
    """Of events before which no other one can come any more."""
    if _has_turns(connection):
        yield events.c.turn < _number(func.pg_snapshot_xmin(func.pg_current_snapshot()))


def _written(connection: Connection, found: Sequence[int]) -> dict[int, list[Step]]:
    """The steps of these events."""
    theirs = (steps.c.run_id == events.c.run_id) & steps.c.seq.between(events.c.first, events.c.last)
    query = (
        select(events.c.id, steps).join(steps, theirs).where(events.c.id.in_(found)).order_by(events.c.id, steps.c.seq)
    )
    by_event: dict[int, list[Step]] = defaultdict(list)
    for row in connection.execute(query):
        by_event[row.id].append(rows.step_from(row))
    return by_event
