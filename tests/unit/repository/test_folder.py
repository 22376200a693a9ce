"""A repository in a folder: what becomes visible, what is found in it, and what it refuses."""

import dataclasses
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from orchestrator.errors import NotFound, RepositoryAway, RepositoryError
from orchestrator.model import Proof, StoredDisk
from orchestrator.repository import FolderRepository
from orchestrator.repository.layout import MARK
from tests.backups import backup, publish, repository

VDA = ["vda"]


@pytest.fixture
def here(tmp_path: Path) -> FolderRepository:
    return repository(tmp_path)


def test_a_published_backup_is_read_as_it_was_written(here: FolderRepository) -> None:
    written = publish(here, backup(disks=("vda", "vdb")))

    content = b"run-1 vda\n" * 1000
    assert written.disks[0] == StoredDisk("vda", 1 << 20, len(content), hashlib.sha256(content).hexdigest())
    assert here.backup("db1", "run-1") == written
    assert here.backups("db1") == (written,)
    assert here.machines() == ("db1",)
    assert sorted(path.name for path in here.folder(written).iterdir()) == ["manifest.json", "vda.qcow2", "vdb.qcow2"]
    assert here.damaged(written, ["vda", "vdb"]) == ()
    assert here.check() == ()


def test_what_is_staged_is_not_visible_until_it_is_published(here: FolderRepository) -> None:
    folder = here.stage("db1", "run-1")

    assert folder == here.staged("db1", "run-1")
    assert here.backups("db1") == ()
    with pytest.raises(NotFound, match="no backup of db1 by the run run-1"):
        here.backup("db1", "run-1")


def test_qemu_reaches_what_is_staged_and_nobody_else_what_is_published(here: FolderRepository) -> None:
    before = os.umask(0o077)
    try:
        staged = here.stage("db1", "run-1")
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (staged, staged.parent, here.path)]
        (staged / "vda.qcow2").write_bytes(b"data")
        published = here.folder(here.publish(backup()))
    finally:
        os.umask(before)

    assert modes == [0o711, 0o711, 0o711]
    assert stat.S_IMODE(published.stat().st_mode) == 0o700


def test_backups_are_listed_from_the_oldest_cut(here: FolderRepository) -> None:
    publish(here, backup("run-b", hours=1))
    publish(here, backup("run-c", hours=2, parent="run-b"))
    publish(here, backup("run-a", hours=3))

    assert [each.run_id for each in here.backups("db1")] == ["run-b", "run-c", "run-a"]
    assert [each.run_id for each in here.chain("db1", "run-c")] == ["run-b", "run-c"]
    assert [each.run_id for each in here.chain("db1", "run-a")] == ["run-a"]


def test_dropping_is_idempotent_and_spares_what_is_published(here: FolderRepository) -> None:
    kept = publish(here, backup("run-1"))
    here.drop("db1", "run-2")  # nothing was staged
    (here.stage("db1", "run-2") / "vda.qcow2").write_bytes(b"half")

    here.drop("db1", "run-2")
    here.drop("db1", "run-2")
    here.drop("db1", "run-1")

    assert here.backups("db1") == (kept,)
    assert here.check() == ()


def test_dropping_where_there_is_no_repository_yet(here: FolderRepository) -> None:
    here.drop("db1", "run-1")

    assert (here.machines(), here.backups("db1"), here.check()) == ((), (), ())
    assert not here.path.exists()


def test_nothing_counts_as_removed_where_there_is_no_repository(here: FolderRepository) -> None:
    """The job's folder is another one now, or it is another host's: the backup is still where it was made."""
    with pytest.raises(RepositoryAway, match="is no repository: the backup run-1 was made elsewhere"):
        here.remove("db1", "run-1")


def test_a_parent_stays_while_a_backup_stands_on_it(here: FolderRepository) -> None:
    publish(here, backup("run-1"))
    publish(here, backup("run-2", parent="run-1", hours=1))

    with pytest.raises(RepositoryError, match="run-1 of db1 must stay: run-2 stands on it"):
        here.remove("db1", "run-1")
    here.remove("db1", "run-2")
    here.remove("db1", "run-1")
    here.remove("db1", "run-1")

    assert here.backups("db1") == ()
    assert here.check() == ()


def test_an_incremental_is_not_published_without_its_parent(here: FolderRepository) -> None:
    here.stage("db1", "run-2")

    with pytest.raises(NotFound, match="no backup of db1 by the run run-1"):
        here.publish(backup("run-2", parent="run-1"))
    assert here.backups("db1") == ()


def test_a_chain_with_a_missing_part_cannot_be_used(here: FolderRepository) -> None:
    first = publish(here, backup("run-1"))
    publish(here, backup("run-2", parent="run-1", hours=1))
    here.folder(first).rename(here.path / "elsewhere")

    with pytest.raises(RepositoryError, match="run-2 of db1 cannot be used: it stands on run-1, which is missing"):
        here.chain("db1", "run-2")


@pytest.mark.parametrize("missing", [True, False])
def test_nothing_is_published_that_is_not_all_there(here: FolderRepository, missing: bool) -> None:
    folder = here.stage("db1", "run-1")
    if not missing:
        (folder / "vda.qcow2").write_bytes(b"data")
        (folder / "vdb.qcow2").write_bytes(b"whose is it?")

    with pytest.raises(RepositoryError, match="vda.qcow2: No such file" if missing else "holds vdb.qcow2"):
        here.publish(backup())
    assert here.backups("db1") == ()


def test_a_run_is_published_once(here: FolderRepository) -> None:
    written = publish(here, backup())

    with pytest.raises(RepositoryError, match="has a backup of db1 by the run run-1 already"):
        here.stage("db1", "run-1")
    with pytest.raises(RepositoryError, match="is there already"):
        here.publish(backup())
    assert here.backups("db1") == (written,)


@pytest.mark.parametrize("name", ["..", ".", "", "../db2", "/etc", ".hidden", "a/b", "a\0b", "x" * 65, MARK])
def test_a_name_never_leads_out_of_the_repository(here: FolderRepository, name: str) -> None:
    publish(here, backup())

    for machine, run in ((name, "run-1"), ("db1", name)):
        for call in (here.stage, here.drop, here.remove, here.backup):
            with pytest.raises(RepositoryError, match="cannot be the name of a folder"):
                call(machine, run)


@pytest.mark.parametrize("name", ["/machine/peripheral/disk0", "..", "#block123", "a b\n", "манул"])
def test_a_disk_of_any_name_is_a_file_in_its_backup(here: FolderRepository, name: str) -> None:
    written = publish(here, backup(disks=(name,)))

    assert here.backup("db1", "run-1") == written
    assert here.damaged(written, [name]) == ()
    assert here.check() == ()


def test_a_link_is_not_followed(here: FolderRepository, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of somebody else")
    (here.stage("db1", "run-1") / "vda.qcow2").symlink_to(secret)

    with pytest.raises(RepositoryError, match=r"vda\.qcow2"):
        here.publish(backup())
    here.drop("db1", "run-1")
    assert secret.read_bytes() == b"of somebody else"


def test_a_manifest_that_was_changed_is_not_believed(here: FolderRepository) -> None:
    written = publish(here, backup())
    manifest = here.folder(written) / "manifest.json"
    text = manifest.read_text()

    for changed, reason in (
        (text.replace("run-1", "run-2"), "its sum is wrong"),
        (text.replace('"format": 1', '"format": 2'), "it has format 2, and this program knows 1 only"),
        (text[:100], "it is no manifest"),
        ("[" * 100_000, "it is no manifest"),
        ("[]", "it is no manifest"),
        ("", "it is no manifest"),
    ):
        manifest.write_text(changed)
        with pytest.raises(RepositoryError, match=reason):
            here.backup("db1", "run-1")
        assert here.backups("db1") == ()


def test_a_backup_in_the_place_of_another_is_not_believed(here: FolderRepository) -> None:
    written = publish(here, backup())
    here.folder(written).rename(here.path / "db1" / "run-9")

    with pytest.raises(RepositoryError, match="it belongs to the run run-1 of db1"):
        here.backup("db1", "run-9")


def test_an_empty_mount_point_is_not_taken_for_a_repository(here: FolderRepository, tmp_path: Path) -> None:
    publish(here, backup())
    here.path.rename(tmp_path / "unmounted")
    here.path.mkdir()

    for call in (here.stage, here.drop, here.remove, here.backup):
        with pytest.raises(RepositoryAway, match=r"has no quiesce-repository\.json now, though it was a repository"):
            call("db1", "run-2")
    with pytest.raises(RepositoryAway):
        here.backups("db1")
    with pytest.raises(RepositoryAway):
        here.check()
    assert list(here.path.iterdir()) == []

    here.path.rmdir()
    with pytest.raises(RepositoryAway):
        here.stage("db1", "run-2")
    assert not here.path.exists()

    (tmp_path / "unmounted").rename(here.path)
    assert [each.run_id for each in here.backups("db1")] == ["run-1"]


def test_the_mount_vanishes_while_a_backup_is_put_together(here: FolderRepository, tmp_path: Path) -> None:
    (here.stage("db1", "run-1") / "vda.qcow2").write_bytes(b"data")
    here.path.rename(tmp_path / "unmounted")
    here.path.mkdir()

    with pytest.raises(RepositoryAway):
        here.publish(backup())
    assert list(here.path.iterdir()) == []


def test_a_folder_with_other_things_does_not_become_a_repository(here: FolderRepository) -> None:
    here.path.mkdir()
    (here.path / "letters").mkdir()

    with pytest.raises(RepositoryError, match="neither a repository nor empty: it holds letters"):
        here.stage("db1", "run-1")
    assert [path.name for path in here.path.iterdir()] == ["letters"]


def test_a_new_file_system_becomes_a_repository(here: FolderRepository) -> None:
    (here.path / "lost+found").mkdir(parents=True)

    publish(here, backup())

    assert json.loads((here.path / MARK).read_text()) == {"format": 1}
    assert here.machines() == ("db1",)
    assert here.check() == ()


def test_without_a_memory_there_is_no_first_use(tmp_path: Path) -> None:
    written = publish(repository(tmp_path), backup())

    assert FolderRepository(tmp_path / "repository", None).backups("db1") == (written,)
    with pytest.raises(RepositoryAway, match=r"is no repository: it has no quiesce-repository\.json"):
        FolderRepository(tmp_path, None).machines()


def test_a_repository_of_a_later_version_is_left_alone(here: FolderRepository) -> None:
    publish(here, backup())
    (here.path / MARK).write_text('{"format": 2}\n')

    with pytest.raises(RepositoryError, match="of a version that this program does not know"):
        here.stage("db1", "run-2")
    (here.path / MARK).write_text("x" * 10_000)
    with pytest.raises(RepositoryError, match="File too large"):
        here.stage("db1", "run-2")


def test_what_is_wrong_is_found(here: FolderRepository) -> None:
    full, second, third, other = (
        publish(here, backup(run, parent=parent, hours=hours))
        for hours, (run, parent) in enumerate({"a": None, "b": "a", "c": "b", "d": None}.items())
    )
    image = here.folder(second) / "vda.qcow2"
    image.write_bytes(image.read_bytes().replace(b"b vda", b"B vda", 1))
    (here.folder(other) / "vda.qcow2").unlink()
    (here.folder(full) / "notes").touch()
    (here.path / "db1" / "file").touch()
    (here.path / "file").touch()
    here.stage("db1", "e")
    (here.path / "db1" / ".f.removing").mkdir()
    (here.path / "db1" / "g").mkdir()
    before = sorted(here.path.rglob("*"))

    found = {(each.flaw, each.path, each.machine, each.run_id) for each in here.check()}

    assert found == {
        ("damage", "db1/b/vda.qcow2", "db1", "b"),
        ("chain", "db1/c", "db1", "c"),
        ("damage", "db1/d/vda.qcow2", "db1", "d"),
        ("stray", "db1/a/notes", "db1", "a"),
        ("stray", "db1/file", "db1", None),
        ("stray", "file", None, None),
        ("leftover", "db1/.e.partial", "db1", "e"),
        ("leftover", "db1/.f.removing", "db1", "f"),
        ("damage", "db1/g", "db1", "g"),
    }
    assert here.damaged(second, VDA) == (f"{image} is not what was written: its sum is wrong",)
    assert here.damaged(third, VDA) == ()
    assert sorted(here.path.rglob("*")) == before


def test_a_shorter_file_is_told_by_its_length(here: FolderRepository) -> None:
    written = publish(here, backup())
    image = here.folder(written) / "vda.qcow2"
    os.truncate(image, 10)

    assert here.damaged(written, VDA) == (f"{image} has 10 bytes, and had 10000",)


def test_a_folder_that_must_not_be_written(here: FolderRepository) -> None:
    here.path.write_text("a file")

    with pytest.raises(RepositoryError, match=r"repository: .*Not a directory"):
        here.stage("db1", "run-1")


def test_times_are_kept_to_the_moment(here: FolderRepository) -> None:
    written = publish(here, dataclasses.replace(backup(), cut_at=backup().cut_at.replace(microsecond=123456)))

    assert here.backup("db1", "run-1").cut_at == written.cut_at


def test_what_was_to_be_frozen_is_kept(here: FolderRepository) -> None:
    written = publish(here, dataclasses.replace(backup(), proof=Proof(1, 1, mountpoints=("/data", "/xfs"))))

    assert here.backup("db1", "run-1") == written
