"""The guest's freeze hook and its scripts, run as the agent would, but on this host."""

import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hook import CONFIG, Hook

GUEST_SCRIPTS = [
    CONFIG / "fsfreeze-hook",
    *(path for path in sorted((CONFIG / "fsfreeze-hook.d").iterdir()) if path.suffix != ".md"),
    *sorted((CONFIG.parent / "orchestrator").rglob("*.sh")),
]


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def test_scripts_are_frozen_in_order_and_thawed_in_reverse_once(hook: Hook) -> None:
    hook.script("a")
    hook.script("b b")
    for name in ("c.bak", "d~", "e.dpkg-old", "f.sample"):
        hook.script(name)
    (hook.scripts / "not-executable").write_text("")
    assert (hook("freeze"), hook.report()) == (0, "1 2 frozen\n")
    assert (hook("thaw"), hook.report()) == (0, "1 2 thawed\n")
    assert (hook("thaw"), hook.report()) == (0, "1 2 thawed\n")
    assert hook.calls() == ["a freeze", "b b freeze", "b b thaw", "a thaw"]
    assert (hook("freeze"), hook.report()) == (0, "2 2 frozen\n")


def test_a_script_that_fails_fails_the_freeze_and_all_are_thawed(hook: Hook) -> None:
    hook.script("a")
    hook.script("b", 'echo because >&2; [ "$1" = thaw ]')
    hook.script("c")
    assert (hook("freeze"), hook.report()) == (1, "1 1 failed\n")
    assert hook.calls() == ["a freeze", "b freeze", "b thaw", "a thaw"]
    assert hook.log() == "because\nb: freeze failed with status 1\nbecause\n"
    assert hook("thaw") == 0
    assert len(hook.calls()) == 4


def test_a_script_that_hangs_is_ended(hook: Hook) -> None:
    hook.environment["QUIESCE_HOOK_LIMIT"] = "1"
    hook.script("a", '[ "$1" = thaw ] || sleep 1000')
    assert (hook("freeze"), hook.report(), hook.calls()) == (1, "1 0 failed\n", ["a freeze", "a thaw"])
    assert hook.log().endswith("a: freeze failed with status 124\n")


def test_a_script_that_did_not_hold_is_told_and_no_error(hook: Hook) -> None:
    hook.script("a", '[ "$1" = freeze ]')
    assert (hook("freeze"), hook("thaw"), hook.report()) == (0, 0, "1 1 lost\n")


def test_a_freeze_that_was_forgotten_is_thawed_before_the_next(hook: Hook) -> None:
    hook.script("a")
    assert (hook("freeze"), hook("freeze"), hook.report()) == (0, 0, "2 1 frozen\n")
    assert hook.calls() == ["a freeze", "a thaw", "a freeze"]


def test_without_scripts_there_is_nothing_to_claim(hook: Hook) -> None:
    assert (hook("freeze"), hook("thaw"), hook.report()) == (0, 0, "1 0 thawed\n")
    assert (hook("explode"), hook.report()) == (2, "1 0 thawed\n")


@pytest.fixture
def database(hook: Hook) -> Callable[[str], sqlite3.Connection]:
    """A database in a journal mode, which the script `sqlite` of the hook knows."""

    def make(mode: str) -> sqlite3.Connection:
        path = hook.folder / "app.db"
        connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        connection.execute(f"PRAGMA journal_mode={mode}")
        connection.execute("CREATE TABLE numbers (n INTEGER)")
        connection.execute("INSERT INTO numbers VALUES (1)")
        hook.ship("sqlite")
        (hook.folder / "list").write_text(f"# databases\n\n{path}\n")
        hook.environment["QUIESCE_SQLITE_LIST"] = str(hook.folder / "list")
        return connection

    return make


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_sqlite_is_read_and_not_written_until_the_thaw(
    hook: Hook, database: Callable[[str], sqlite3.Connection], mode: str
) -> None:
    connection = database(mode)
    assert (hook("freeze"), hook.report()) == (0, "1 1 frozen\n")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        connection.execute("INSERT INTO numbers VALUES (2)")
    assert connection.execute("SELECT n FROM numbers").fetchall() == [(1,)]
    # What a snapshot holds now: all of it is in the database's own file.
    copy = hook.folder / "copy.db"
    copy.write_bytes((hook.folder / "app.db").read_bytes())
    assert not (hook.folder / "app.db-journal").exists()
    found = sqlite3.connect(f"file:{copy}?immutable=1", uri=True)
    assert found.execute("SELECT n FROM numbers").fetchall() == [(1,)]
    found.close()
    assert (hook("thaw"), hook.report()) == (0, "1 1 thawed\n")
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("INSERT INTO numbers VALUES (2)")
    connection.close()


def test_a_lock_that_was_let_go_before_the_thaw_is_told(
    hook: Hook, database: Callable[[str], sqlite3.Connection]
) -> None:
    connection = database("DELETE")
    hook.environment["QUIESCE_HOLD_LIMIT"] = "1"
    assert hook("freeze") == 0
    connection.execute("PRAGMA busy_timeout=30000")
    connection.execute("INSERT INTO numbers VALUES (2)")  # as soon as the lock is let go
    assert (hook("thaw"), hook.report()) == (0, "1 1 lost\n")
    connection.close()


def test_a_database_that_cannot_be_locked_fails_the_freeze(
    hook: Hook, database: Callable[[str], sqlite3.Connection]
) -> None:
    connection = database("DELETE")
    connection.execute("BEGIN EXCLUSIVE")
    assert (hook("freeze"), hook.report()) == (1, "1 0 failed\n")
    connection.close()


def test_a_script_without_its_configuration_does_nothing(hook: Hook) -> None:
    for name in ("sqlite", "mysql", "postgresql"):
        hook.ship(name)
    nowhere = str(hook.folder / "nowhere")
    hook.environment |= {"QUIESCE_SQLITE_LIST": nowhere, "QUIESCE_MYSQL_CONFIG": nowhere}
    hook.environment["QUIESCE_POSTGRESQL_USER"] = "nobody-of-that-name"
    assert (hook("freeze"), hook("thaw"), hook.report()) == (0, 0, "1 3 thawed\n")


@pytest.mark.parametrize("path", GUEST_SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(path: Path) -> None:
    checked = subprocess.run(
        ["shellcheck", "--shell=sh", "--severity=warning", path], capture_output=True, text=True, check=False
    )
    assert checked.stdout == ""
