"""PostgreSQL as the journal's engine, by psycopg: no call waits for ever for a server that is gone."""

from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import URL, Engine, create_engine, event

T = TypeVar("T")

#: Seconds that the server gets to end a statement by itself before we stop listening to it.
_GRACE = 1


def engines(url: URL, patience: int) -> tuple[Engine, Engine]:
    """An engine for reading and one for writing, on the same connections."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": patience},
        pool_pre_ping=True,
        pool_timeout=patience,
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, args: tuple[Any, ...], parameters: dict[str, Any]) -> _Connection:
        connection = _Connection.connect(*args, **parameters)
        connection.patience = patience + _GRACE
        connection.execute(f"SET statement_timeout = '{patience}s'")
        connection.commit()
        return connection

    # Every statement of a reader sees the same moment; a writer sees what was committed while it waited for a lock.
    reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    writer = engine.execution_options(isolation_level="READ COMMITTED")
    return reader, writer


class _Connection(psycopg.Connection[Any]):
    """A connection that does not listen for ever.

    `statement_timeout` is the server's promise, and a server that is stopped, or whose disk or network hangs, does
    not keep it. What it was doing stays unknown, so the connection is closed and never used again.
    """

    patience: float | None = None

    def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.errors._WaitTimeout as error:
            self.close()
            raise psycopg.OperationalError("the server does not answer") from error
