"""A journal that cannot be used before the window: no freeze. One that vanishes inside: thaw first, record later."""

import os
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Ended, Product
from tests.acceptance.tmpfs import Tmpfs
from tests.lab import PATIENCE, Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def refused(product: Product, guest: Guest, kind: str) -> Ended:
    """Run the job, which ends before it has touched the guest: not even its agent is asked."""
    guest.kill_agent()
    cut = product.folder / "cut"
    product.job("vm", cut=["/bin/touch", str(cut)], quiesce="off")
    ended = product.run()
    assert (ended.code, ended.document["error"]["kind"]) == (1, kind)
    assert ended.document["error"]["message"] in ended.err
    assert not cut.exists()
    return ended


def test_a_folder_that_does_not_exist_and_cannot_be_made(product: Product, vm: Guest, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    product.journal = tmp_path / "file" / "journal.db"
    ended = refused(product, vm, "JournalUnavailable")
    assert str(product.journal) in ended.err


def test_a_disk_that_may_only_be_read(product: Product, vm: Guest, tmp_path: Path) -> None:
    """root may write whatever its mode says; nobody may write here."""
    with Tmpfs(tmp_path / "small", 1) as small:
        assert os.system(f"mount -o remount,ro {small.path}") == 0  # noqa: S605 - a path of ours
        product.journal = small.path / "journal.db"
        refused(product, vm, "JournalUnavailable")


def test_a_full_disk_before_the_window(product: Product, vm: Guest, tmp_path: Path) -> None:
    with Tmpfs(tmp_path / "small", 1) as small:
        product.journal = small.path / "journal.db"
        product.table("machines.unused", agent="unix:/nowhere")
        assert product("db", "upgrade").code == 0
        small.fill()
        ended = refused(product, vm, "JournalUnavailable")
        assert "free space" in ended.err
        small.free()
        assert product.run().code == 0


def test_a_disk_that_fills_up_inside_the_window(product: Product, guest: Guest, gate: Gate, tmp_path: Path) -> None:
    with Tmpfs(tmp_path / "small", 1) as small:
        product.journal = small.path / "journal.db"
        product.job("vm", cut=gate.cut)
        running = product.start("run", "job", "--json")
        gate.wait_entered()
        small.fill()
        gate.open()
        wait_for(lambda: not guest.fs_frozen(), PATIENCE, "the thaw, though nothing can be written down")
        assert running.alive
        small.free()
        ended = running.wait()
        assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", "filesystem")
        assert product.states() == ["done"]


def test_a_journal_of_a_newer_program(product: Product, vm: Guest) -> None:
    assert product("db", "upgrade").code == 0
    with sqlite3.connect(product.journal) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    ended = refused(product, vm, "JournalMismatch")
    assert "9999" in ended.err
    upgraded = product("db", "upgrade", "--json")
    assert (upgraded.code, upgraded.document["error"]["kind"]) == (1, "JournalMismatch")


def test_a_file_that_is_no_journal(product: Product, vm: Guest) -> None:
    product.journal.write_text("a letter to my aunt, which is long enough to be taken for the header of a database")
    before = product.journal.read_bytes()
    refused(product, vm, "JournalMismatch")
    assert product.journal.read_bytes() == before
