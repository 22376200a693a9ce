"""SQLite as the journal's engine: one file, on the disk when a commit returns."""

import errno
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

Turn = Callable[[], AbstractContextManager[None]]


def engines(url: URL, patience: int) -> tuple[Engine, Engine, Turn]:
    """An engine for reading and one for writing, on the file that `url` names, and what a writer waits for.

    The file exists afterwards. Raises OSError when it cannot be made.
    """
    assert url.database is not None
    _create(Path(url.database))
    # The driver's own transactions begin late, and not at all for DDL. Without an isolation level it leaves them to us.
    engine = create_engine(
        url.set(query={}),
        connect_args={"timeout": patience, "isolation_level": None},
        pool_timeout=patience,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    # A reader sees one moment and waits for nobody. A writer takes its turn at once: one that began as a reader could
    # not wait for another writer, only fail.
    reader, writer = engine.execution_options(begin="BEGIN"), engine.execution_options(begin="BEGIN IMMEDIATE")
    return reader, writer, _turns(patience)


def _turns(patience: int) -> Turn:
    """One turn after the other for the writers of this process, in order: SQLite's waiting is a poll, in which one may
    starve. Hundreds may wait as long as turns end; who has waited for `patience` while none did gives up.
    """
    lock, waiting = threading.Lock(), deque[threading.Event]()
    ended = 0

    @contextmanager
    def turn() -> Iterator[None]:
        nonlocal ended
        mine = threading.Event()
        with lock:
            waiting.append(mine)
            waiting[0].set()
            seen = ended
        try:
            while not mine.wait(patience):
                if ended == seen:
                    raise TimeoutError(errno.ETIMEDOUT, "another thread does not end its writing")
                seen = ended
            yield
        finally:
            with lock:
                waiting.remove(mine)
                ended += mine.is_set()
                if waiting:
                    waiting[0].set()

    return turn


def _create(path: Path) -> None:
    """Make the file, for its owner alone: it names machines and paths. SQLite's files beside it take the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # An existing file must not even be opened: closing it would drop the locks of this process's other connections.
    with suppress(FileExistsError):
        path.touch(mode=0o600, exist_ok=False)


def _configure(connection: SqliteConnection, _record: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options()["begin"])
