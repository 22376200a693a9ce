"""Restoring and checking, over real repositories and the real qemu-img."""

import dataclasses
import os
from collections.abc import Collection, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from orchestrator.backups import Backups
from orchestrator.clock import SystemClock
from orchestrator.errors import (
    ConfigError,
    JournalUnavailable,
    NotFound,
    Rejected,
    RepositoryAway,
    RepositoryError,
    Untrusted,
)
from orchestrator.examining import Examiner
from orchestrator.images import QemuImages
from orchestrator.model import (
    Action,
    Flaw,
    ImageFormat,
    Machine,
    Outcome,
    Owner,
    RestoredDisk,
    Run,
    State,
    Target,
    Trigger,
    Verify,
    Wanted,
)
from orchestrator.repository import FolderRepository
from tests.backups import MORNING, backup, publish, publish_images, repository
from tests.fakes.domains import FakeDomains
from tests.fakes.journal import MemoryJournal

RAW = ImageFormat.RAW
MIB = 1 << 20


@pytest.fixture
def here(tmp_path: Path) -> FolderRepository:
    return repository(tmp_path)


@pytest.fixture
def domains() -> FakeDomains:
    return FakeDomains("db1")


def over(
    *repositories: FolderRepository, domains: FakeDomains | None = None, journal: MemoryJournal | None = None
) -> Backups:
    """The use cases over these repositories, of which the configuration knows the machine `db1`."""
    clock, found = SystemClock(), domains or FakeDomains()
    images = QemuImages(clock)

    def no_agent(machine: Machine) -> NoReturn:
        raise AssertionError(f"{machine} is not asked")

    return Backups(
        repositories=repositories,
        machines={"db1": Machine("db1", hypervisor="test:///default", domain="db1")},
        images=images,
        domains=lambda uri: {"test:///default": found}[uri],
        examiner=Examiner(images, lambda uri: found, no_agent, clock),
        journal=None if journal is None else lambda: journal,
        clock=clock,
    )


def chain(here: FolderRepository, disks: Sequence[str] = ("vda",)) -> None:
    """A full backup and two that stand on it: 1 1 1 1 in the first four 64 KiB, then 1 2 1 1, then 1 2 0 3."""
    publish_images(here, backup("run-1", disks=disks), "write -P 1 0 256k")
    publish_images(here, backup("run-2", parent="run-1", hours=1, disks=disks), "write -P 2 64k 64k")
    third = backup("run-3", parent="run-2", hours=2, disks=disks)
    publish_images(here, third, "write -z 128k 64k", "write -P 3 192k 64k")


def blocks(raw: Path) -> list[int]:
    """What is in the first four blocks of 64 KiB, each of which is of one value."""
    content = raw.read_bytes()
    assert len(content) == MIB
    assert not any(content[256 * 1024 :])
    values = [set(content[start : start + 64 * 1024]) for start in range(0, 256 * 1024, 64 * 1024)]
    return [value for [value] in values]


@pytest.mark.parametrize(
    ("run", "expected"), [("run-1", [1, 1, 1, 1]), ("run-2", [1, 2, 1, 1]), ("run-3", [1, 2, 0, 3])]
)
def test_each_backup_of_a_chain_is_restored_as_it_was(
    here: FolderRepository, tmp_path: Path, run: str, expected: list[int]
) -> None:
    chain(here)

    restored = over(here).restore(Wanted(run), tmp_path / "out", form=RAW)

    [disk] = restored.disks
    assert disk == RestoredDisk("vda", str(tmp_path / "out" / "vda.raw"), RAW)
    assert blocks(Path(disk.path)) == expected
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["vda.raw"]


def test_what_is_restored_is_sparse_private_and_stands_on_nothing(here: FolderRepository, tmp_path: Path) -> None:
    chain(here)
    raw = over(here).restore(Wanted("run-3"), tmp_path, form=RAW).disks[0]
    assert Path(raw.path).stat().st_blocks * 512 <= 256 * 1024
    assert Path(raw.path).stat().st_mode & 0o077 == 0

    qcow2 = over(here).restore(Wanted("run-3"), tmp_path).disks[0]
    for each in here.backups("db1")[::-1]:
        here.remove("db1", each.run_id)
    back = tmp_path / "back.raw"
    QemuImages(SystemClock()).flatten({back: [Path(qcow2.path)]}, RAW)
    assert blocks(back) == [1, 2, 0, 3]


def test_one_disk_of_several(here: FolderRepository, tmp_path: Path) -> None:
    chain(here, disks=("vda", "vdb"))
    # What another disk is like does not matter.
    (here.folder(here.backup("db1", "run-1")) / "vda.qcow2").unlink()

    restored = over(here).restore(Wanted("run-3"), tmp_path / "out", disk="vdb", form=RAW)

    assert [disk.name for disk in restored.disks] == ["vdb"]
    assert blocks(Path(restored.disks[0].path)) == [1, 2, 0, 3]
    with pytest.raises(NotFound, match="has no disk 'vdc'; it has: vda, vdb"):
        over(here).restore(Wanted("run-3"), tmp_path / "out", disk="vdc")


@pytest.mark.parametrize("broken", ["run-1", "run-2", "run-3"])
def test_a_damaged_backup_is_not_restored(here: FolderRepository, tmp_path: Path, broken: str) -> None:
    chain(here)
    image = here.folder(here.backup("db1", broken)) / "vda.qcow2"
    with image.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")

    with pytest.raises(RepositoryError, match=rf"run-3 is damaged: .*{broken}/vda.qcow2 is not what was written"):
        over(here).restore(Wanted("run-3"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_is_replaced_only_with_force_and_only_when_all_are_written(
    here: FolderRepository, tmp_path: Path
) -> None:
    chain(here, disks=("vda", "vdb"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "vda.raw").write_text("precious")

    with pytest.raises(ConfigError, match=r"vda\.raw is there already; --force replaces it"):
        over(here).restore(Wanted("run-1"), out, form=RAW)
    (out / ".vdb.raw.partial").mkdir()  # where the second disk would be written
    with pytest.raises(Rejected, match=r"\.vdb\.raw\.partial is there already: another restore writes it"):
        over(here).restore(Wanted("run-1"), out, form=RAW, force=True)
    assert (out / "vda.raw").read_text() == "precious"
    assert sorted(path.name for path in out.iterdir()) == [".vdb.raw.partial", "vda.raw"]

    (out / ".vdb.raw.partial").rmdir()
    over(here).restore(Wanted("run-1"), out, form=RAW, force=True)
    assert blocks(out / "vda.raw") == [1, 1, 1, 1]


def test_a_repository_is_no_place_to_restore_to(here: FolderRepository, tmp_path: Path) -> None:
    chain(here)
    (tmp_path / "elsewhere").symlink_to(here.path / "db1")

    with pytest.raises(ConfigError, match="restore to somewhere else"):
        over(here).restore(Wanted("run-1"), tmp_path / "elsewhere" / "run-1", force=True)
    assert here.check() == ()


def test_a_folder_that_cannot_be_made(here: FolderRepository, tmp_path: Path) -> None:
    chain(here)

    with pytest.raises(Rejected, match=r"cannot make the folder .*: No such file or directory"):
        over(here).restore(Wanted("run-1"), tmp_path / "no" / "such")


def test_a_run_is_named_by_its_beginning_and_a_machine_where_it_matters(tmp_path: Path) -> None:
    here = repository(tmp_path)
    for run, machine in (("r-1", "db1"), ("r-1", "db2"), ("r-12", "db1"), ("s", "db1")):
        publish(here, dataclasses.replace(backup(run), machine=machine))
    backups = over(here)

    def found(wanted: Wanted) -> tuple[str, str]:
        backup = backups.find(wanted).backup
        return backup.machine, backup.run_id

    assert found(Wanted("s")) == ("db1", "s")
    assert found(Wanted("r-12")) == ("db1", "r-12")
    assert found(Wanted("r-1", "db1")) == ("db1", "r-1")
    assert found(Wanted("r", "db2")) == ("db2", "r-1")
    with pytest.raises(ConfigError, match="choose one with --machine; there are backups of db1, db2"):
        found(Wanted("r-1"))
    with pytest.raises(NotFound, match="'r' is the beginning of several runs: r-1, r-12"):
        found(Wanted("r"))
    with pytest.raises(NotFound, match=f"there is no such backup in {here.path}"):
        found(Wanted("s", "db2"))


def test_a_time_means_the_last_backup_before_it(here: FolderRepository) -> None:
    for hours in (1, 3, 2):
        publish(here, backup(f"run-{hours}", hours=hours))
    at = [MORNING + timedelta(hours=hours) for hours in (1, 2.5, 100)]

    found = [over(here).find(Wanted(machine="db1", at=time)).backup.run_id for time in at]

    assert found == ["run-1", "run-2", "run-3"]
    with pytest.raises(NotFound):
        over(here).find(Wanted(machine="db1", at=MORNING))


def test_a_repository_that_is_away_is_not_in_the_way_of_another(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    here, away = repository(tmp_path), FolderRepository(tmp_path / "1", None)
    publish(here, backup("run-1"))

    assert over(away, here).find(Wanted("run-1")).backup.run_id == "run-1"
    for wanted in (Wanted("run"), Wanted("other"), Wanted(machine="db1", at=MORNING)):
        with pytest.raises(RepositoryAway):
            over(away, here).find(wanted)


def test_without_a_repository(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no job with a repository; name the folder with --repository"):
        over().restore(Wanted("run-1"), tmp_path)


def test_a_domain_is_defined_with_the_restored_disks(
    here: FolderRepository, domains: FakeDomains, tmp_path: Path
) -> None:
    chain(here, disks=("vda", "vdb"))

    restored = over(here, domains=domains).restore(Wanted("run-2"), tmp_path / "out", form=RAW, define="db2")

    assert (restored.domain, restored.uuid) == ("db2", "uuid of db2")
    definition = domains.defined["db2"]
    assert "<name>db2</name>" in definition
    assert "uuid" not in definition
    assert all(f'file="{tmp_path}/out/{disk}.raw"' in definition for disk in ("vda", "vdb"))


def test_a_domain_that_cannot_be_defined_costs_no_restore(
    here: FolderRepository, domains: FakeDomains, tmp_path: Path
) -> None:
    chain(here, disks=("vda", "vdb"))
    publish_images(here, dataclasses.replace(backup("bare", hours=9), domain_xml=None))
    backups, out = over(here, domains=domains), tmp_path / "out"

    with pytest.raises(ConfigError, match="holds no domain: it was a QEMU without libvirt"):
        backups.restore(Wanted("bare"), out, define="db2")
    with pytest.raises(Rejected, match="there is a domain db1 already: choose another name"):
        backups.restore(Wanted("run-1"), out, define="db1")
    with pytest.raises(Rejected, match="has a disk vda that was not restored"):
        backups.restore(Wanted("run-1"), out, disk="vdb", define="db2")
    assert not out.exists()

    domains.error = Rejected("no")
    with pytest.raises(Rejected, match="the disks are restored, but the domain is not defined: no"):
        backups.restore(Wanted("run-1"), out, define="db2")
    assert sorted(path.name for path in out.iterdir()) == ["vda.qcow2", "vdb.qcow2"]


def test_all_repositories_are_checked_also_when_one_is_away(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    here, away = repository(tmp_path), FolderRepository(tmp_path / "1", None)
    publish(here, backup())
    (here.path / "letter").touch()

    first, second = over(away, here).check()

    assert (first.repository, [each.flaw for each in first.findings]) == (str(away.path), [Flaw.AWAY])
    assert (second.repository, [each.flaw for each in second.findings]) == (str(here.path), [Flaw.STRAY])


class AwayJournal(MemoryJournal):
    """A journal that cannot be reached."""

    def run(self, run_id: str) -> Run:
        raise JournalUnavailable("the database is away")

    def open_runs(self, *, apart_from: Collection[str] = ()) -> tuple[Run, ...]:
        raise JournalUnavailable("the database is away")


def recorded(journal: MemoryJournal, run_id: str) -> list[tuple[Action, Outcome]]:
    return [(step.action, step.outcome) for step in journal.runs[run_id].steps]


@pytest.fixture
def journal() -> MemoryJournal:
    """A journal in which the run `run-1` has ended."""
    journal = MemoryJournal(SystemClock())
    target = Target(Machine("db1", agent="/qga"), State.DONE)
    journal.open_run(Run("run-1", None, Trigger.MANUAL, Owner("host", "boot", 1, 1), MORNING, (target,)))
    return journal


def test_an_examination_is_written_into_the_history(here: FolderRepository, journal: MemoryJournal) -> None:
    publish_images(here, backup("run-1"))

    verified = over(here, journal=journal).verify(Wanted("run-1"), Verify.CHECKSUM)

    assert (verified.problems, verified.not_journaled) == ((), None)
    assert recorded(journal, "run-1") == [(Action.EXAMINE, Outcome.INTENT), (Action.EXAMINE, Outcome.DONE)]
    assert journal.runs["run-1"].steps[0].figures == {"verify": "checksum"}


def test_what_is_wrong_is_written_into_the_history(here: FolderRepository, journal: MemoryJournal) -> None:
    saved = publish_images(here, backup("run-1"))
    (here.folder(saved) / "vda.qcow2").unlink()

    verified = over(here, journal=journal).verify(Wanted("run-1"), Verify.CHECKSUM)

    assert verified.problems
    assert recorded(journal, "run-1") == [(Action.EXAMINE, Outcome.INTENT), (Action.EXAMINE, Outcome.FAILED)]
    error = journal.runs["run-1"].steps[1].error
    assert error is not None
    assert "is not to be trusted" in error


def test_an_examination_that_cannot_be_made_is_not_one_that_found_nothing(
    here: FolderRepository, journal: MemoryJournal
) -> None:
    publish_images(here, dataclasses.replace(backup("run-1"), domain_xml=None))

    with pytest.raises(RepositoryError, match="cannot be booted"):
        over(here, journal=journal).verify(Wanted("run-1"), Verify.BOOT)
    assert recorded(journal, "run-1") == [(Action.EXAMINE, Outcome.INTENT), (Action.EXAMINE, Outcome.FAILED)]


def test_a_backup_whose_run_no_journal_knows_is_examined_all_the_same(
    here: FolderRepository, journal: MemoryJournal
) -> None:
    publish_images(here, backup("run-9"))

    not_journaled = over(here, journal=journal).verify(Wanted("run-9"), Verify.CHECKSUM).not_journaled
    assert not_journaled is not None
    assert "run-9" in not_journaled
    assert over(here).verify(Wanted("run-9"), Verify.CHECKSUM).not_journaled == (
        "no configuration was read, so there is no history to write to"
    )


def test_a_run_examines_what_it_has_published(here: FolderRepository) -> None:
    saved = publish_images(here, backup("run-1"))

    assert over(here).examine("db1", "run-1", Verify.CHECKSUM) == {"filesystems": [], "boot_seconds": None}
    (here.folder(saved) / "vda.qcow2").unlink()
    with pytest.raises(Untrusted, match="run-1 is not to be trusted"):
        over(here).examine("db1", "run-1", Verify.CHECKSUM)


def test_a_journal_that_is_away_keeps_nobody_from_examining(here: FolderRepository) -> None:
    publish_images(here, backup("run-1"))

    verified = over(here, journal=AwayJournal(SystemClock())).verify(Wanted("run-1"), Verify.CHECKSUM)

    assert (verified.problems, verified.not_journaled) == ((), "the database is away")
    assert over(here, journal=AwayJournal(SystemClock())).check()[0].findings == ()


def test_what_an_open_run_is_making_is_no_leftover(here: FolderRepository) -> None:
    journal = MemoryJournal(SystemClock())
    target = Target(Machine("db1", agent="/qga"), State.RUNNING)
    journal.open_run(Run("run-2", None, Trigger.MANUAL, Owner("host", "boot", 1, 1), MORNING, (target,)))
    for run in ("run-1", "run-2"):
        here.stage("db1", run)

    [report] = over(here, journal=journal).check()
    assert [each.run_id for each in report.findings] == ["run-1"]
    [report] = over(here).check()
    assert [each.run_id for each in report.findings] == ["run-1", "run-2"]
