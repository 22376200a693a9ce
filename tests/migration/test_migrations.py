"""The migrations make the tables that the program expects, from every state that a database may be in."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from orchestrator.answers import Filter
from orchestrator.errors import JournalMismatch, JournalOutdated
from orchestrator.journal import Upgrade, schema, upgrade
from orchestrator.journal.exclusion import metadata
from orchestrator.model import State
from tests.journals import a_run, a_step, open_journal

SCRIPTS = ScriptDirectory("migrations")
REVISIONS = [script.revision for script in SCRIPTS.walk_revisions()]

#: For every revision: a journal as a program of that time left it. Never changed once the revision is out.
CONTENTS = {
    "0001": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'thaw', 'unknown', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', 'no answer')",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00')",
    ],
    "0002": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'fuse', 'done', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', NULL)",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00')",
    ],
    "0003": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'fuse', 'done', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', NULL)",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00', NULL, NULL)",
    ],
    "0004": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer', '2026-03-29 01:30:00+00')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'fuse', 'done', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', NULL)",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00', NULL, NULL)",
        "INSERT INTO horizons VALUES ('nightly', '0 2 * * *', '2026-03-29 01:30:00+00', '2026-03-29 01:30:00+00')",
        "INSERT INTO pauses VALUES ('job', 'nightly', '2026-03-29 01:30:00+00', 'root@host', NULL)",
    ],
    "0005": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer', '2026-03-29 01:30:00+00')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'fuse', 'done', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', NULL)",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00', NULL, NULL)",
        "INSERT INTO horizons VALUES ('nightly', '0 2 * * *', '2026-03-29 01:30:00+00', '2026-03-29 01:30:00+00')",
        "INSERT INTO pauses VALUES ('job', 'nightly', '2026-03-29 01:30:00+00', 'root@host', NULL)",
        "INSERT INTO tokens VALUES ('ci', 'e3b0', 'viewer', '2026-03-29 01:30:00+00', 'root@host', NULL, NULL)",
        "INSERT INTO audit (at, who, origin, act, subject, status)"
        " VALUES ('2026-03-29 01:30:00+00', 'token ci', '127.0.0.1', 'POST /api/v1/runs', 'nightly', 202)",
        "INSERT INTO requests VALUES ('key', '{}', 'r1', '2026-03-29 01:30:00+00')",
        "INSERT INTO events (turn, run_id, first, last) VALUES (0, 'r1', 1, 1)",
    ],
    "0006": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer', '2026-03-29 01:30:00+00')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer',"
        " '2026-03-29 01:30:00.123456+00')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'fuse', 'done', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', NULL)",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00', NULL, NULL)",
        "INSERT INTO horizons VALUES ('nightly', '0 2 * * *', '2026-03-29 01:30:00+00', '2026-03-29 01:30:00+00')",
        "INSERT INTO pauses VALUES ('job', 'nightly', '2026-03-29 01:30:00+00', 'root@host', NULL)",
        "INSERT INTO tokens VALUES ('ci', 'e3b0', 'viewer', '2026-03-29 01:30:00+00', 'root@host', NULL, NULL)",
        "INSERT INTO audit (at, who, origin, act, subject, status)"
        " VALUES ('2026-03-29 01:30:00+00', 'token ci', '127.0.0.1', 'POST /api/v1/runs', 'nightly', 202)",
        "INSERT INTO requests VALUES ('key', '{}', 'r1', '2026-03-29 01:30:00+00')",
        "INSERT INTO events (turn, run_id, first, last) VALUES (0, 'r1', 1, 1)",
    ],
    "0007": [
        "INSERT INTO runs VALUES ('r1', 'nightly', NULL, 'manual', 'host/boot/1/100', '2026-03-29 01:30:00.123456+00',"
        " NULL, 'stuck', 'crash', 'no answer', '2026-03-29 01:30:00+00')",
        "INSERT INTO targets VALUES ('r1', 'db1', 0, '{\"name\":\"db1\"}', 'stuck', 'crash', 12.5, NULL, 'no answer',"
        " '2026-03-29 01:30:00.123456+00')",
        "INSERT INTO steps VALUES ('r1', 1, 'db1', 'fuse', 'done', '2026-03-29 01:30:00.123456+00', 7.25, 3.5,"
        " '{\"count\":2}', NULL)",
        "INSERT INTO snapshots VALUES ('r1', 'db1', 'quiesce-r1', '{\"files\":[\"a\"]}', 'crash',"
        " '2026-03-29 01:30:00.123456+00', NULL, NULL)",
        "INSERT INTO horizons VALUES ('nightly', '0 2 * * *', '2026-03-29 01:30:00+00', '2026-03-29 01:30:00+00')",
        "INSERT INTO pauses VALUES ('job', 'nightly', '2026-03-29 01:30:00+00', 'root@host', NULL)",
        "INSERT INTO tokens VALUES ('ci', 'e3b0', 'viewer', '2026-03-29 01:30:00+00', 'root@host', NULL, NULL)",
        "INSERT INTO audit (at, who, origin, act, subject, status)"
        " VALUES ('2026-03-29 01:30:00+00', 'token ci', '127.0.0.1', 'POST /api/v1/runs', 'nightly', 202)",
        "INSERT INTO requests VALUES ('key', '{}', 'r1', '2026-03-29 01:30:00+00')",
        "INSERT INTO events (turn, run_id, first, last) VALUES (0, 'r1', 1, 1)",
        "INSERT INTO notices VALUES ('stuck', '', 'db1', '2026-03-29 01:30:00+00')",
    ],
}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with nothing in it, on each engine in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/journal.db"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
def engine(empty_url: str) -> Iterator[Engine]:
    """An engine of the test's own on that database."""
    engine = create_engine(empty_url)
    yield engine
    engine.dispose()


def alembic(connection: Connection) -> Config:
    """Alembic's configuration, as the program makes it."""
    config = Config()
    config.set_main_option("script_location", "migrations")
    config.attributes["connection"] = connection
    return config


def described(engine: Engine) -> dict[str, Any]:
    """Everything that the database says about its tables, except Alembic's own."""
    inspector = inspect(engine)
    return {
        table: {
            "columns": [{**column, "type": repr(column["type"])} for column in inspector.get_columns(table)],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": [
                (key["constrained_columns"], key["referred_table"], key["referred_columns"], key["options"])
                for key in inspector.get_foreign_keys(table)
            ],
            "indexes": {
                str(index["name"]): (
                    index["column_names"],
                    index["unique"],
                    str(index.get("dialect_options", {}).get(f"{engine.name}_where")),
                )
                for index in inspector.get_indexes(table)
            },
            "checks": {
                str(check["name"]): check["sqltext"].replace('"', "")
                for check in inspector.get_check_constraints(table)
            },
        }
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }


def test_the_migrations_make_what_the_program_expects(empty_url: str, engine: Engine) -> None:
    assert upgrade(empty_url) == Upgrade(None, schema.HEAD)
    with engine.begin() as connection:
        command.check(alembic(connection))
        migrated = described(engine)
        connection.execute(text("DROP TABLE alembic_version"))
    metadata.drop_all(engine)
    assert described(engine) == {}
    metadata.create_all(engine)
    assert described(engine) == migrated
    history = {"runs", "targets", "steps", "snapshots"}
    access = {"tokens", "audit", "requests", "events"}
    assert migrated.keys() == {*history, "horizons", "pauses", "notices", *access}


def test_the_program_knows_the_newest_revision() -> None:
    assert SCRIPTS.get_heads() == [schema.HEAD]
    assert CONTENTS.keys() == set(REVISIONS)


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_journal_of_any_age_is_upgraded_with_all_that_is_in_it(empty_url: str, engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        command.upgrade(alembic(connection), revision)
        for statement in CONTENTS[revision]:
            connection.execute(text(statement.replace(":", r"\:")))
    assert upgrade(empty_url) == Upgrade(revision, schema.HEAD)
    assert upgrade(empty_url) == Upgrade(schema.HEAD, schema.HEAD)
    journal = open_journal(empty_url)
    (run,) = journal.open_runs()
    assert (run.id, run.state, run.error) == ("r1", State.STUCK, "no answer")
    assert (run.targets[0].window_ms, run.targets[0].snapshot) == (12.5, {"files": ["a"]})
    assert [step.figures for step in run.steps] == [{"count": 2}]
    assert [found.id for found in journal.ledger().page(Filter(machine="db1"), None, 9)] == ["r1"]
    assert [window.at for window in journal.ledger().windows("db1", 9)] == [run.started_at]
    journal.record(run, [a_step("db1")])
    journal.move(run, replace(run.targets[0], state=State.RECOVERED), ())
    journal.close()


def test_there_is_no_way_down(empty_url: str, engine: Engine) -> None:
    upgrade(empty_url)
    with engine.begin() as connection, pytest.raises(AttributeError, match="downgrade"):
        command.downgrade(alembic(connection), "base")
    open_journal(empty_url).close()


def test_a_failed_migration_leaves_the_database_as_it_was(empty_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
        connection.execute(text("CREATE TABLE snapshots (of_somebody_else INTEGER)"))
    with pytest.raises(Exception, match=r'snapshots"? already exists'):
        upgrade(empty_url)
    assert set(inspect(engine).get_table_names()) == {"alembic_version", "snapshots"}


@pytest.mark.parametrize("use", [open_journal, upgrade])
def test_a_schema_from_the_future_is_refused_and_left_alone(empty_url: str, engine: Engine, use: Any) -> None:
    upgrade(empty_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(JournalMismatch, match="has schema 9999, which this program does not know") as caught:
        use(empty_url)
    assert not isinstance(caught.value, JournalOutdated)


def test_an_outdated_schema_waits_for_its_operator(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(empty_url)
    now = schema.HEAD
    monkeypatch.setattr(schema, "HEAD", "next")  # what the next program will need
    with pytest.raises(JournalOutdated, match=f"has schema {now}, and this program needs next"):
        open_journal(empty_url)


def test_tables_of_somebody_else_are_left_alone(empty_url: str, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE runs (marathon INTEGER)"))
    with pytest.raises(JournalMismatch, match=r"tables of its own.*runs"):
        open_journal(empty_url)
    assert inspect(engine).get_table_names() == ["runs"]


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE songs (title)")
    connection.close()
    with pytest.raises(JournalMismatch, match="songs"):
        open_journal(f"sqlite:///{tmp_path}/other.db")


@pytest.mark.postgres
def test_a_server_s_database_may_be_shared(empty_postgres_url: str) -> None:
    engine = create_engine(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE songs (title text)"))
    engine.dispose()
    open_journal(empty_postgres_url).close()


def test_a_journal_that_is_up_to_date_is_opened_without_alembic(sqlite_url: str) -> None:
    assert "alembic" not in modules_after_opening(sqlite_url, Path.cwd())


def test_the_other_engine_is_not_loaded(sqlite_url: str) -> None:
    open_journal(sqlite_url).close()
    assert not [name for name in modules_after_opening(sqlite_url, Path.cwd()) if "postgresql" in name]


def test_an_installed_package_carries_its_migrations(tmp_path: Path) -> None:
    shutil.copytree("orchestrator", tmp_path / "orchestrator")
    shutil.copytree("migrations", tmp_path / "orchestrator" / "migrations")
    (tmp_path / "migrations").mkdir()  # somebody else's, beside the package
    assert "alembic" in modules_after_opening(f"sqlite:///{tmp_path}/journal.db", tmp_path)


def modules_after_opening(url: str, root: Path) -> list[str]:
    """What a new process has imported when it has opened the journal with the package that is under `root`."""
    program = (
        "import sys; from orchestrator.clock import SystemClock; from orchestrator.journal import SqlJournal;"
        f"SqlJournal.open({url!r}, SystemClock()).history(1); print(*sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root)}, capture_output=True, check=True, text=True)
    return done.stdout.split()


def test_a_first_use_by_many_at_once_makes_one_journal(empty_url: str) -> None:
    barrier = threading.Barrier(6)

    def first_use(number: int) -> State:
        barrier.wait()
        journal = open_journal(empty_url)
        state = journal.open_run(a_run(f"r{number}", "db1")).state
        journal.close()
        return state

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(first_use, range(6)))
    assert sorted(found) == [State.PENDING] + [State.REFUSED] * 5
