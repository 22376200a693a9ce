"""The database behind the journal: its transactions, and its errors in the journal's words.

Every error of SQLAlchemy and of the drivers is converted here and nowhere else. A message names the database without
its password and without what was stored, and gives the engine's own words for the cause.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, Insert, Table, exc, make_url

from orchestrator.errors import ConfigError, JournalError, JournalMismatch, JournalUnavailable

#: Seconds that an attempt to connect, a statement and a wait for a lock may each take.
PATIENCE = 4

_EXAMPLES = "use `sqlite:////var/lib/quiesce/journal.db` or `postgresql+psycopg://user@host/database`"

#: One of PostgreSQL's SQLSTATEs that begin with 42; the others tell of tables and columns that are not as expected.
_PERMISSION_DENIED = "42501"


class Database:
    """One SQLite file or PostgreSQL database, used by any number of threads. Connects when it is used."""

    def __init__(self, url: str, patience: int = PATIENCE) -> None:
        """Raises ConfigError when `url` does not name a database that can hold a journal."""
        try:
            parsed = make_url(url)
            kind = parsed.get_backend_name(), parsed.get_driver_name()
        except (exc.ArgumentError, ValueError):
            # Whatever part of it was not understood may be a piece of the password: neither said nor kept as a cause.
            raise ConfigError(f"the journal's url is not understood; {_EXAMPLES}") from None
        #: The url as it is said to people: without the password, and without options, which may hold another.
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        with self._converting_errors():
            match kind:  # nobody loads the driver of the other engine
                case "sqlite", "pysqlite" if parsed.database and parsed.database != ":memory:":
                    from orchestrator.journal import sqlite

                    self._reader, self._writer, self._turn = sqlite.engines(parsed, patience)
                case "postgresql", "psycopg":
                    from orchestrator.journal import postgresql

                    self._reader, self._writer = postgresql.engines(parsed, patience)
                    self._turn = nullcontext
                case _:
                    raise ConfigError(f"a journal cannot be kept in {self.name}; {_EXAMPLES}")

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction in which all statements see the database at one moment. Raises JournalError."""
        with self._converting_errors(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is on the disk when the block ends, or without any effect when it raises.

        Raises JournalError. When the commit's own answer was lost, the effect is unknown.
        """
        with self._converting_errors(), self._turn(), self._writer.begin() as connection:
            yield connection

    def vacuum(self) -> None:
        """Give the space of what was deleted back. SQLite needs as much again meanwhile. Raises JournalError."""
        with self._converting_errors(), self._turn(), self._writer.connect() as connection:
            # Neither engine does it within a transaction.
            outside = connection.execution_options(isolation_level="AUTOCOMMIT", begin="SELECT 1")
            outside.exec_driver_sql("VACUUM")

    def close(self) -> None:
        """Drop all connections."""
        self._writer.dispose()  # the reader's are the same

    @contextmanager
    def _converting_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise JournalUnavailable(f"the journal {self.name} cannot be used: {error.strerror}") from error
        except exc.SQLAlchemyError as error:
            cause = error.orig if isinstance(error, exc.StatementError) else error
            raise _kind(error)(f"the journal {self.name} cannot be used: {_one_line(cause)}") from error


def insert_unless_there(connection: Connection, table: Table, *columns: str) -> Insert:
    """An insert that leaves out a row which a unique index, or the one over `columns`, forbids.

    The other engine's dialect is not loaded.
    """
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing(index_elements=columns or None)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table).on_conflict_do_nothing(index_elements=columns or None)


def folder(url: str) -> Path | None:
    """Where the file of the journal at `url` is; None when it is on a server. `url` has opened a Database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database).absolute().parent


def _kind(error: exc.SQLAlchemyError) -> type[JournalError]:
    """What the error means to the caller: a write that can never succeed, a schema that is not ours, or no access."""
    not_sent = isinstance(error, exc.StatementError) and not isinstance(error, exc.DBAPIError)
    if not_sent or isinstance(error, exc.IntegrityError | exc.DataError):
        return JournalError
    cause = getattr(error, "orig", None)
    sqlstate = getattr(cause, "sqlstate", None) or ""
    unknown_names = sqlstate.startswith("42") and sqlstate != _PERMISSION_DENIED
    no_database = getattr(cause, "sqlite_errorname", None) == "SQLITE_NOTADB"
    return JournalMismatch if unknown_names or no_database else JournalUnavailable


def _one_line(cause: BaseException | None) -> str:
    return " ".join(str(cause).split()).rstrip(".")
