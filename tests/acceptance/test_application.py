"""A consistent application, shown with SQLite in a real guest: rows are committed all the time, and the snapshot opens
without recovery and holds every row that was committed before the cut.
"""

import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.product import Product, target
from tests.lab import Guest, wait_for
from tests.lab.proof import examine_ext4, file_of

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

HOOKS = Path(__file__).parents[2] / "config"
#: Commits the numbers from 1 on, each in a transaction of its own, and says which is committed.
WRITER = """#!/bin/sh
sqlite3 /data/app.db 'CREATE TABLE numbers (n INTEGER PRIMARY KEY)'
n=0
while n=$((n + 1)); do
    sqlite3 -cmd '.timeout 20000' /data/app.db "INSERT INTO numbers VALUES ($n)" && echo $n >/run/committed
done
"""
#: A script of the hook that runs behind the one for SQLite: no row is committed any more.
NOTE = '#!/bin/sh\n[ "$1" = thaw ] || cp /run/committed /run/committed-before\n'


@pytest.fixture
def writing(product: Product, guest: Guest) -> Guest:
    """A guest with our hooks, whose application commits all the time."""
    guest.run("rm -f /run/committed*")
    for name in ("fsfreeze-hook", "fsfreeze-hook.d/sqlite"):
        guest.shell("mkdir -p /etc/qemu/fsfreeze-hook.d /etc/quiesce")
        guest.write_file(f"/etc/qemu/{name}", (HOOKS / name).read_text())
    guest.write_file("/etc/qemu/fsfreeze-hook.d/zz-note", NOTE)
    guest.write_file("/etc/quiesce/sqlite", "/data/app.db\n")
    guest.restart_agent(hook=(HOOKS / "fsfreeze-hook").read_text())
    guest.write_file("/run/app", WRITER)
    guest.shell("setsid /run/app >/run/app.log 2>&1 </dev/null & :")
    wait_for(lambda: committed(guest) >= 5, 60, "the first rows")
    product.job("vm", freeze_timeout="30s")
    return guest


def committed(guest: Guest, when: str = "") -> int:
    return int(guest.run(f"cat /run/committed{when} 2>/dev/null").output or 0)


def test_a_snapshot_opens_without_recovery_and_holds_every_row(product: Product, writing: Guest) -> None:
    disk = writing.active_disks()[0]
    ended = product.run()
    run = ended.run
    assert (ended.code, run["state"], run["consistency"]) == (0, "done", "application"), ended.err
    [asked] = [step["figures"] for step in run["steps"] if step["action"] == "ask"]
    assert asked == {"hooks": 2, "state": "thawed", "hooks_ran": True}
    before = committed(writing, "-before")
    wait_for(lambda: committed(writing) > before, 30, "the application to go on")
    writing.run("killall app")

    assert target(run)["snapshot"]["disks"][0]["path"] == str(disk)
    assert examine_ext4(disk).quiesced
    with file_of(disk, "/app.db-journal") as journal:
        assert journal.stat().st_size == 0, "there is nothing to recover"
    with file_of(disk, "/app.db") as copy:
        database = sqlite3.connect(f"file:{copy}?immutable=1", uri=True)  # it may not recover anything
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = [n for (n,) in database.execute("SELECT n FROM numbers ORDER BY n")]
        database.close()
    assert rows == list(range(1, len(rows) + 1))
    assert before >= 5
    assert len(rows) in {before, before + 1}, "the last one may have been committed and not yet been told"
