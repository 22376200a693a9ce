"""A journal whose database is gone, full, locked or not a journal says so, soon, and works again afterwards."""

import multiprocessing
import os
import pwd
import resource
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, Pool, create_engine, event, make_url, text

from orchestrator.clock import SystemClock
from orchestrator.errors import JournalError, JournalMismatch, JournalUnavailable, QuiesceError
from orchestrator.journal import SqlJournal
from orchestrator.journal.database import Database
from orchestrator.model import Run, State
from tests.journals import THEIRS, a_run, a_step, open_journal
from tests.postgres import PASSWORD, Cluster

PROCESSES = multiprocessing.get_context("forkserver")

CALLS: dict[str, Callable[[SqlJournal, Run], object]] = {
    "open_run": lambda journal, run: journal.open_run(replace(run, id="r2")),
    "record": lambda journal, run: journal.record(run, [a_step("db1")]),
    "move": lambda journal, run: journal.move(run, replace(run.targets[0], state=State.RUNNING), ()),
    "take_over": lambda journal, run: journal.take_over(run, THEIRS),
    "run": lambda journal, run: journal.run(run.id),
    "open_runs": lambda journal, _: journal.open_runs(),
    "history": lambda journal, _: journal.history(1),
}


@contextmanager
def listening(name: str, listener: Callable[..., None]) -> Iterator[None]:
    """Call `listener` at each such event of any engine."""
    event.listen(Engine, name, listener)
    try:
        yield
    finally:
        event.remove(Engine, name, listener)


# PostgreSQL


@pytest.mark.postgres
def test_a_stopped_server_is_an_error_at_once_and_none_after_its_return(postgres: Cluster, postgres_url: str) -> None:
    journal = open_journal(postgres_url)
    run = journal.open_run(a_run("r1", "db1"))
    postgres.stop()
    try:
        for call in CALLS.values():
            with pytest.raises(JournalUnavailable, match=r"connection to server .* failed") as caught:
                call(journal, run)
            assert caught.value.__cause__ is not None
    finally:
        postgres.start()
    assert journal.open_runs() == (run,)
    journal.close()


@pytest.mark.postgres
def test_a_server_that_stops_answering_is_not_waited_for(postgres: Cluster, postgres_url: str) -> None:
    journal = open_journal(postgres_url)
    run = journal.open_run(a_run("r1", "db1"))
    with postgres.frozen():
        began = time.monotonic()
        with pytest.raises(JournalUnavailable):
            journal.record(run, [a_step("db1")])
        assert time.monotonic() - began < 10
    assert journal.run("r1") == run
    journal.close()


@pytest.mark.postgres
def test_a_server_that_freezes_within_a_transaction_is_not_waited_for(postgres: Cluster, postgres_url: str) -> None:
    journal = open_journal(postgres_url)
    run = journal.open_run(a_run("r1", "db1"))
    with ExitStack() as stack:
        freezing = iter([postgres.frozen])  # once, at the first statement

        def freeze(*_: Any) -> None:
            for frozen in freezing:
                stack.enter_context(frozen())

        with listening("before_cursor_execute", freeze), pytest.raises(JournalUnavailable, match="does not answer"):
            began = time.monotonic()
            journal.record(run, [a_step("db1")])
        assert time.monotonic() - began < 10
    assert journal.run("r1") == run
    journal.close()


@pytest.mark.postgres
def test_a_lock_of_somebody_else_is_not_waited_for(postgres: Cluster, postgres_url: str) -> None:
    journal = open_journal(postgres_url)
    run = journal.open_run(a_run("r1", "db1"))
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("LOCK TABLE runs"))
        with pytest.raises(JournalUnavailable, match="statement timeout"):
            journal.record(run, [a_step("db1")])
    engine.dispose()
    journal.record(run, [a_step("db1")])
    journal.close()


@pytest.mark.postgres
@pytest.mark.parametrize("statement", range(1, 7))
def test_a_connection_that_is_cut_anywhere_leaves_all_or_nothing(postgres_url: str, statement: int) -> None:
    journal = open_journal(postgres_url)
    run = journal.open_run(a_run("r1", "db1"))
    count = 0

    def cut(connection: Any, *_: Any) -> None:
        nonlocal count
        count += 1
        if count == statement:
            parameters = connection.connection.dbapi_connection.info.get_parameters()
            with psycopg.connect(password=PASSWORD, autocommit=True, **parameters) as other:
                other.execute(
                    "SELECT pg_terminate_backend(%s, 5000)", [connection.connection.dbapi_connection.info.backend_pid]
                )

    with (
        listening("before_cursor_execute", cut),
        pytest.raises(JournalUnavailable, match=r"terminating connection|closed"),
    ):
        journal.move(run, replace(run.targets[0], state=State.RUNNING), [a_step("db1")])
    assert journal.run("r1") == run
    journal.close()


@pytest.mark.postgres
def test_a_database_that_may_only_be_read_is_read(postgres_url: str) -> None:
    journal = open_journal(postgres_url)
    run = journal.open_run(a_run("r1", "db1"))
    journal.close()
    reader = make_url(postgres_url).update_query_dict({"options": "-c role=pg_read_all_data"})
    journal = open_journal(reader.render_as_string(hide_password=False))
    assert journal.history(1) == (run,)
    with pytest.raises(JournalUnavailable, match="permission denied"):
        journal.record(run, [a_step("db1")])
    journal.close()


# SQLite


def test_a_locked_file_can_be_read_and_is_not_waited_for(sqlite_url: str) -> None:
    journal = open_journal(sqlite_url)
    run = journal.open_run(a_run("r1", "db1"))
    other = sqlite3.connect(file_of(sqlite_url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(JournalUnavailable, match="database is locked"):
        journal.record(run, [a_step("db1")])
    assert time.monotonic() - began < 10
    assert journal.run("r1") == run
    other.close()
    journal.record(run, [a_step("db1")])
    journal.close()


def test_a_thread_that_does_not_end_its_writing_is_not_waited_for(sqlite_url: str) -> None:
    journal = open_journal(sqlite_url)
    run = journal.open_run(a_run("r1", "db1"))
    writing, go_on = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        writing.set()
        go_on.wait(60)

    with ThreadPoolExecutor(1) as pool, listening("before_cursor_execute", hang):
        slow = pool.submit(journal.record, run, [a_step("db1", 1)])
        assert writing.wait(60)
        with pytest.raises(JournalUnavailable, match="another thread does not end its writing"):
            journal.record(run, [a_step("db1", 2)])
        go_on.set()
        slow.result()
    journal.record(run, [a_step("db1", 3)])
    assert [step.figures["n"] for step in journal.run("r1").steps] == [1, 3]
    journal.close()


def test_many_threads_may_wait_as_long_as_each_ends_its_writing(sqlite_url: str) -> None:
    """Together they write for three times as long as one waits for another."""
    journal = SqlJournal(Database(sqlite_url, patience=1), SystemClock())
    run = journal.open_run(a_run("r1", "db1"))

    def linger(*_: Any) -> None:
        time.sleep(0.1)

    with listening("commit", linger), ThreadPoolExecutor(30) as pool:
        written = [pool.submit(journal.record, run, [a_step("db1", number)]) for number in range(30)]
    for each in written:
        each.result()
    assert {step.figures["n"] for step in journal.run("r1").steps} == set(range(30))
    journal.close()


def test_a_full_disk_is_named_and_what_fits_again_is_written(sqlite_url: str) -> None:
    journal = open_journal(sqlite_url)
    run = journal.open_run(a_run("r1", "db1"))
    journal.close()
    large = replace(a_step("db1"), figures={"text": "x" * 1_000_000})

    def shrink(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA max_page_count = 60")

    event.listen(Pool, "connect", shrink)
    try:
        journal = open_journal(sqlite_url)
        with pytest.raises(JournalUnavailable, match=r"journal\.db cannot be used: database or disk is full"):
            journal.move(run, replace(run.targets[0], state=State.RUNNING), [a_step("db1"), large])
        assert journal.run("r1") == run
        journal.record(run, [a_step("db1")])
        journal.close()
    finally:
        event.remove(Pool, "connect", shrink)
    journal = open_journal(sqlite_url)
    journal.record(run, [large])
    assert journal.run("r1").steps == (a_step("db1"), large)
    journal.close()


def test_a_file_that_cannot_grow_is_an_error_and_stays_whole(sqlite_url: str) -> None:
    journal = open_journal(sqlite_url)
    run = journal.open_run(a_run("r1", "db1"))
    answer = in_process(write_a_little_more, sqlite_url)
    assert answer == "JournalUnavailable: disk I/O error"
    assert journal.run("r1") == run
    journal.close()


def write_a_little_more(url: str) -> str:
    """Record a large step when no file may grow any further."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    journal = open_journal(url)
    try:
        journal.record(journal.run("r1"), [replace(a_step("db1"), figures={"text": "x" * 1_000_000})])
    except JournalError as error:
        return f"{type(error).__name__}: {str(error).rpartition(': ')[2]}"
    return "written"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_file_of_somebody_else_is_an_error_that_names_it(sqlite_template: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:  # nobody could not enter the folders of pytest
        Path(folder).chmod(0o755)
        file = Path(shutil.copy(sqlite_template, folder))
        file.chmod(0o644)
        assert in_process(write_as_nobody, f"sqlite:///{file}") == "JournalUnavailable"
        file.chmod(0o600)
        assert in_process(write_as_nobody, f"sqlite:///{file}") == "JournalUnavailable"
        assert in_process(write_as_nobody, f"sqlite:///{folder}/new/journal.db") == "JournalUnavailable"


def write_as_nobody(url: str) -> str:
    """Open a run as a user who may write nothing; return the error's name when its message names the file."""
    os.setuid(pwd.getpwnam("nobody").pw_uid)
    try:
        open_journal(url).open_run(a_run("r1", "db1"))
    except QuiesceError as error:
        return type(error).__name__ if url in str(error) else str(error)
    return "written"


def test_a_new_file_and_its_folder_are_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "var" / "quiesce" / "journal.db"
    journal = open_journal(f"sqlite:///{file}")
    journal.open_run(a_run("r1", "db1"))
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in [file.parent, *file.parent.iterdir()]}
    assert modes == {"quiesce": "0o700", "journal.db": "0o600", "journal.db-wal": "0o600", "journal.db-shm": "0o600"}
    journal.close()


def test_what_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    file.write_bytes(b"This is not a database. " * 100)
    before = file.read_bytes()
    with pytest.raises(JournalMismatch, match=r"other\.db cannot be used: file is not a database"):
        open_journal(f"sqlite:///{file}")
    assert file.read_bytes() == before
    for path in (tmp_path, file / "journal.db"):
        with pytest.raises(JournalUnavailable):
            open_journal(f"sqlite:///{path}")


def file_of(url: str) -> str:
    return make_url(url).database or ""


def in_process(work: Callable[[str], str], url: str) -> str:
    """What `work` returns in a process of its own."""
    with PROCESSES.Pool(1) as pool:
        answer = pool.apply(work, [url])
        pool.close()
        pool.join()
    return answer
