"""The scripts of the freeze hook for MariaDB and PostgreSQL, around the real servers.

What a snapshot would hold is a copy of the server's files, made while all its processes are stopped: nothing is written
meanwhile, as nothing is to a frozen file system, and what waits in the page cache is in it, as it is after a freeze.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hook import Hook
from tests.lab.waiting import PATIENCE, wait_for
from tests.mariadb import Server, running_server
from tests.postgres import PASSWORD, Cluster, copy_files, running_cluster

#: Commits one row, in a transaction of its own.
COMMIT = "INSERT INTO app.numbers VALUES (NULL);"
ROWS = "SELECT n FROM app.numbers ORDER BY n;"


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


@pytest.fixture(scope="module")
def prepared() -> Iterator[Server]:
    """A server with an application's table, and a user for the hook who may do what it needs and nothing else."""
    with running_server() as server:
        server.sql("CREATE DATABASE app; CREATE TABLE app.numbers (n INT PRIMARY KEY AUTO_INCREMENT) ENGINE=InnoDB;")
        server.sql("CREATE USER quiesce@localhost IDENTIFIED BY 'a secret'; GRANT RELOAD ON *.* TO quiesce@localhost;")
        yield server


@pytest.fixture
def mariadb(prepared: Server, hook: Hook) -> Iterator[Server]:
    """That server, running, with the hook set up for it."""
    if not prepared.running:
        prepared.start()
    hook.ship("mysql")
    config = hook.folder / "mysql.cnf"
    config.write_text(f"[client]\nsocket={prepared.socket}\nuser=quiesce\npassword='a secret'\n")
    hook.environment["QUIESCE_MYSQL_CONFIG"] = str(config)
    yield prepared
    hook("thaw")


def is_locked(server: Server) -> bool:
    """Whether a commit would have to wait."""
    try:
        server.sql(f"SET lock_wait_timeout = 0; {COMMIT}")
    except AssertionError as refused:
        assert "Lock wait timeout exceeded" in str(refused), refused
        return True
    return False


def test_mariadb_commits_nothing_until_the_thaw(mariadb: Server, hook: Hook) -> None:
    assert hook("thaw") == 0, "of a guest that is not frozen"
    assert (hook("freeze"), hook.report(), is_locked(mariadb)) == (0, "1 1 frozen\n", True)
    assert mariadb.sql("SELECT 1;") == ["1"], "it may be read"
    assert (hook("freeze"), hook.report(), is_locked(mariadb)) == (0, "2 1 frozen\n", True)
    assert (hook("thaw"), hook.report(), is_locked(mariadb)) == (0, "2 1 thawed\n", False)
    assert (hook("thaw"), hook.report(), is_locked(mariadb)) == (0, "2 1 thawed\n", False)


@pytest.mark.parametrize("flush_at_commit", [0, 1])
def test_a_snapshot_of_mariadb_holds_every_row(mariadb: Server, hook: Hook, flush_at_commit: int) -> None:
    """Also where a commit is not flushed, because its user would rather lose a second than wait for a disk."""
    mariadb.sql(f"SET GLOBAL innodb_flush_log_at_trx_commit = {flush_at_commit}, innodb_flush_log_at_timeout = 2;")
    before, snapshot = mariadb.sql(ROWS), hook.folder / "snapshot"
    with writing(mariadb):
        wait_for(lambda: len(mariadb.sql(ROWS)) >= len(before) + 50, PATIENCE, "the first rows")
        assert (hook("freeze"), hook.report()) == (0, "1 1 frozen\n")
        with mariadb.frozen():
            copy_files(mariadb.data, snapshot)
        committed = mariadb.sql(ROWS)
        with running_server(snapshot) as copy:
            assert copy.sql(ROWS) == committed
            assert copy.sql("CHECK TABLE app.numbers EXTENDED;")[-1].endswith("status\tOK")
        assert (hook("thaw"), hook.report()) == (0, "1 1 thawed\n")
        wait_for(lambda: len(mariadb.sql(ROWS)) > len(committed), PATIENCE, "the application to go on")


@pytest.mark.parametrize("which", ["client", "server"])
def test_a_lock_of_mariadb_that_died_before_the_thaw_is_told(mariadb: Server, hook: Hook, which: str) -> None:
    assert hook("freeze") == 0
    if which == "server":
        mariadb.stop()
    else:
        os.kill(int((hook.state / "mysql" / "pid").read_text()), signal.SIGKILL)
        wait_for(lambda: not is_locked(mariadb), PATIENCE, "the server to let go")
    assert (hook("thaw"), hook.report()) == (0, "1 1 lost\n")


def test_a_lock_of_mariadb_ends_by_itself(mariadb: Server, hook: Hook) -> None:
    hook.environment["QUIESCE_HOLD_LIMIT"] = "1"
    assert (hook("freeze"), is_locked(mariadb)) == (0, True)
    wait_for(lambda: not is_locked(mariadb), PATIENCE, "the end of the lock")
    assert (hook("thaw"), hook.report()) == (0, "1 1 lost\n")


def test_mariadb_that_does_not_answer_fails_the_freeze(mariadb: Server, hook: Hook) -> None:
    mariadb.stop()
    assert (hook("freeze"), hook.report()) == (1, "1 0 failed\n")


def test_a_table_that_is_in_use_fails_the_freeze_and_nothing_stays_locked(mariadb: Server, hook: Hook) -> None:
    hook.environment["QUIESCE_HOOK_LIMIT"] = "1"
    with session(mariadb) as busy:
        assert busy.stdin is not None
        assert busy.stdout is not None
        busy.stdin.write("LOCK TABLES app.numbers WRITE; SELECT 'in use';\n")
        busy.stdin.flush()
        assert busy.stdout.readline() == "in use\n"
        assert (hook("freeze"), hook.report()) == (1, "1 0 failed\n")
    wait_for(lambda: not is_locked(mariadb), PATIENCE, "everything to be let go")


@pytest.fixture
def postgresql(postgres: Cluster, hook: Hook) -> Cluster:
    """The session's server, with the hook set up for it. The hook is root, as the agent is in its guest."""
    if os.geteuid() != 0:
        pytest.skip("only root becomes the server's user without a password")
    hook.ship("postgresql")
    hook.environment |= {"PGHOST": str(postgres.folder), "PGUSER": "quiesce", "PGPASSWORD": PASSWORD}
    return postgres


@pytest.mark.postgres
def test_a_snapshot_of_postgresql_holds_every_row(postgresql: Cluster, hook: Hook) -> None:
    """Those of the time after the checkpoint, too: nothing is locked, and a commit is in the log."""
    unwritten = "SELECT pg_current_wal_insert_lsn() - redo_lsn FROM pg_control_checkpoint()"
    name, snapshot = postgresql.create(), hook.folder / "snapshot"
    with postgresql.connect(name) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT * FROM generate_series(1, 10000) n")
        [[before]] = connection.execute(unwritten)
        assert (hook("freeze"), hook.report()) == (0, "1 1 frozen\n")
        [[after]] = connection.execute(unwritten)
        assert after < before, "a checkpoint was written"
        for n in range(10001, 10101):
            connection.execute("INSERT INTO numbers VALUES (%s)", [n])
        with postgresql.frozen():
            copy_files(postgresql.data, snapshot)
    assert (hook("thaw"), hook.report()) == (0, "1 1 thawed\n")
    with running_cluster(snapshot) as copy, copy.connect(name) as connection:
        rows = connection.execute("SELECT n FROM numbers ORDER BY n").fetchall()
        assert rows == [(n,) for n in range(1, 10101)]
    postgresql.drop(name)


@pytest.mark.postgres
def test_postgresql_that_does_not_answer_fails_the_freeze(postgresql: Cluster, hook: Hook) -> None:
    hook.environment["QUIESCE_HOOK_LIMIT"] = "1"
    with postgresql.frozen():
        assert (hook("freeze"), hook.report()) == (1, "1 0 failed\n")
    hook.environment["PGHOST"] = str(hook.folder)  # where no server is
    assert (hook("freeze"), hook.report()) == (1, "2 0 failed\n")


@contextmanager
def session(server: Server) -> Iterator["subprocess.Popen[str]"]:
    """A client of the server, which ends with the block."""
    command = [*server.client("root"), "--unbuffered"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        try:
            yield client
        finally:
            client.kill()


@contextmanager
def writing(server: Server) -> Iterator[None]:
    """An application that commits all the time."""
    with (
        subprocess.Popen(["yes", COMMIT], stdout=subprocess.PIPE) as numbers,
        subprocess.Popen(server.client("root"), stdin=numbers.stdout) as application,
    ):
        try:
            yield
        finally:
            application.kill()
            numbers.kill()
