"""The driver `backup` over a machine in memory and a repository in a folder: what it plans, and what stays."""

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.clock import Deadline, SystemClock
from orchestrator.drivers.backup import BackupDriver
from orchestrator.errors import CallError, ConfigError, Rejected, RepositoryAway, RepositoryError
from orchestrator.model import Consistency, Cut, Disk, Machine, OsInfo, Proof
from orchestrator.ports import DriverContext, Plan
from orchestrator.repository import FolderRepository
from tests.backups import repository
from tests.fakes.copies import CopyingMachine

CLOCK = SystemClock()


def soon() -> Deadline:
    return Deadline.after(CLOCK, 30)


def finish(driver: BackupDriver, plan: Plan) -> None:
    """The rest of a run."""
    while not driver.copied(plan, soon()).ended:
        pass
    driver.publish(plan, replace(CUT, at=CLOCK.now()), soon())


@dataclass
class World:
    """A machine with one small disk, and where its backups are kept."""

    machine: CopyingMachine
    repository: FolderRepository
    image: Path

    def driver(self, run_id: str, **changes: Any) -> BackupDriver:
        context = DriverContext(Machine("db1"), "offsite", run_id, {}, self.machine, CLOCK, repository=self.repository)
        return BackupDriver(replace(context, **changes))

    def begin(self, run_id: str, **changes: Any) -> tuple[BackupDriver, Plan]:
        """A run until its cut."""
        driver = self.driver(run_id, **changes)
        plan = driver.plan(f"quiesce-{run_id}", soon())
        driver.prepare(plan, soon())
        driver.cut(plan, soon())
        return driver, plan

    def back_up(self, run_id: str, **changes: Any) -> Plan:
        """A whole run."""
        driver, plan = self.begin(run_id, **changes)
        finish(driver, plan)
        return plan

    def resize(self, size: int) -> None:
        self.machine.machine_disks = (replace(self.machine.machine_disks[0], size_bytes=size),)

    @property
    def noted(self) -> set[str]:
        return set(self.machine.copies.noted)

    @property
    def staged(self) -> list[Path]:
        return list(self.repository.path.glob("*/.*"))


CUT = Cut(
    CLOCK.now(), Consistency.FILESYSTEM, Proof(frozen=2, thawed=2, hold_ms=5.0), OsInfo("debian", None, None, None)
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    image = tmp_path / "vda.raw"
    image.write_bytes(bytes(1 << 20))
    disk = Disk("vda", "vda", str(image), "raw", 1 << 20)
    return World(CopyingMachine((disk,)), repository(tmp_path), image)


def test_the_first_is_full_and_the_next_holds_what_has_changed(world: World) -> None:
    first, second = world.back_up("one"), world.back_up("two", rate=5)

    assert (first["parent"], second["parent"], second["why_full"]) == (None, "one", None)
    assert "the first backup" in first["why_full"]
    assert world.machine.copies.begun == [("quiesce-one", None), ("quiesce-two", "quiesce-one")]
    assert world.machine.copies.rates == [None, None, 5, 5]
    assert world.noted == {"quiesce-two"}
    assert not world.machine.copies.opened and not world.machine.copies.going


def test_a_backup_has_all_that_a_restore_needs(world: World) -> None:
    world.back_up("one")
    [backup] = world.repository.backups("db1")

    assert (backup.job, backup.parent, backup.proof) == ("offsite", None, CUT.proof)
    assert (backup.guest_os, backup.domain_xml) == (CUT.guest_os, "<domain/>")
    [disk] = backup.disks
    assert (disk.name, disk.virtual_bytes) == ("vda", 1 << 20)
    assert disk.stored_bytes == (world.repository.folder(backup) / disk.file).stat().st_size


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda world: world.machine.copies.noted.clear(), "there is no quiesce-two"),
        (lambda world: world.resize(2 << 20), "the disk vda had 1048576 bytes in two, and has 2097152 now"),
        (lambda world: shutil.rmtree(world.repository.path / "db1" / "one"), "it stands on one, which is missing"),
        (lambda world: shutil.rmtree(world.repository.path / "db1" / "two"), "there is no quiesce-one"),
    ],
    ids=["the checkpoint is gone", "resized", "the parent is missing", "the last one is missing"],
)
def test_a_chain_that_cannot_go_on_is_begun_anew_and_says_why(
    world: World, change: Callable[[World], None], why: str
) -> None:
    world.back_up("one")
    world.back_up("two")
    change(world)
    driver = world.driver("three")
    plan = driver.plan("quiesce-three", soon())

    assert why in plan["why_full"]
    assert driver.prepare(plan, soon()) == {"why_full": plan["why_full"]}
    driver.cut(plan, soon())
    finish(driver, plan)
    assert "quiesce-three" in world.noted and "quiesce-one" not in world.noted
    assert world.back_up("four")["parent"] == "three"


def test_the_job_says_when_a_backup_is_full_again(world: World) -> None:
    world.back_up("one")

    assert "full_every" in world.driver("two", full_every=0.0).plan("quiesce-two", soon())["why_full"]
    assert "max_incrementals" in world.driver("two", max_incrementals=0).plan("quiesce-two", soon())["why_full"]


def test_what_is_known_not_to_fit_is_refused_before_the_freeze(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.statvfs", lambda path: os.statvfs_result((4096, 4096, 9, 9, 9, 9, 9, 9, 0, 255)))
    world.image.write_bytes(b"x" * (1 << 20))
    driver = world.driver("one")
    plan = driver.plan("quiesce-one", soon())
    with pytest.raises(Rejected, match="the repository has 0 MiB free, and the backup takes 1 MiB"):
        driver.prepare(plan, soon())
    driver.discard(plan, soon())

    assert world.staged == []
    assert world.noted == set()


def test_the_files_of_a_backup_are_nobody_elses(world: World) -> None:
    world.begin("one")
    [file] = world.staged[0].iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_is_copied_is_flushed_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = threading.Event()
    monkeypatch.setattr(world.repository, "flush", lambda machine, run_id: flushed.set())
    driver, plan = world.begin("one")
    assert not flushed.is_set()
    driver.copied(plan, soon())
    assert flushed.wait(30)


def test_a_backup_that_could_not_be_flushed_is_not_published(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells once of what it could not write: the flush of the publication would succeed."""

    def fail(machine: str, run_id: str) -> None:
        raise RepositoryError("vda.qcow2: Input/output error")

    monkeypatch.setattr(world.repository, "flush", fail)
    driver, plan = world.begin("one")
    with pytest.raises(RepositoryError, match="Input/output error"):
        finish(driver, plan)
    assert world.repository.backups("db1") == ()


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_what_was_not_published_is_ended_and_removed_by_whoever_comes(world: World, looks: int) -> None:
    world.back_up("one")
    world.machine.copies.write(100)
    driver, plan = world.begin("two")
    for _ in range(looks):
        driver.copied(plan, soon())
    again = world.driver("two")

    assert again.happened(plan, soon()) is None
    for _ in range(2):
        again.discard(plan, soon())
    assert (world.staged, world.noted) == ([], {"quiesce-one"})
    assert not world.machine.copies.opened and not world.machine.copies.going
    assert world.driver("three").plan("quiesce-three", soon())["changed_bytes"] == 100


def test_a_process_that_died_when_it_had_published_is_made_up_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    world.back_up("one")
    driver, plan = world.begin("two")
    while not driver.copied(plan, soon()).ended:
        pass
    with monkeypatch.context() as patch:
        patch.setattr(world.machine.copies, "leave", die)
        with pytest.raises(Killed):
            driver.publish(plan, CUT, soon())
    assert world.noted == {"quiesce-one", "quiesce-two"}

    made = world.driver("two").happened(plan, soon())
    assert made is not None and made["parent"] == "one"
    assert world.noted == {"quiesce-two"}
    with pytest.raises(Rejected, match="nothing was removed"):
        world.driver("two").discard(plan, soon())


def test_the_copy_is_ended_also_when_the_repository_is_away(world: World) -> None:
    world.back_up("one")
    driver, plan = world.begin("two")
    aside = world.repository.path.rename(world.repository.path.with_name("aside"))
    world.repository.path.mkdir()  # the mount point
    with pytest.raises(RepositoryAway):
        driver.discard(plan, soon())
    assert world.noted == {"quiesce-one"}
    assert not world.machine.copies.going

    world.repository.path.rmdir()
    aside.rename(world.repository.path)
    driver.discard(plan, soon())
    assert world.staged == []


def test_the_files_are_removed_also_when_the_machine_is_gone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise CallError("QEMU is gone")

    driver, plan = world.begin("one")
    monkeypatch.setattr(world.machine.copies, "end", gone)
    with pytest.raises(CallError, match="QEMU is gone"):
        driver.discard(plan, soon())
    assert world.staged == []


def test_a_backup_that_retention_lets_go_is_removed_and_not_below_another(world: World) -> None:
    world.back_up("one")
    world.back_up("two")
    with pytest.raises(Rejected, match="two stands on it"):
        list(world.driver("one").remove({}, (), soon()))
    for run_id in ("two", "two", "one"):
        assert list(world.driver(run_id).remove({}, (), soon())) == []
    assert world.repository.backups("db1") == ()
    assert world.noted == set()


def test_what_does_not_fit_the_machine_is_the_users_mistake(world: World) -> None:
    with pytest.raises(ConfigError, match="needs a repository"):
        world.driver("one", repository=None)
    with pytest.raises(ConfigError, match="needs a `hypervisor` on this host, or `qmp`"):
        world.driver("one", hypervisor=None)
    with pytest.raises(ConfigError, match="on this host"):
        world.driver("one", hypervisor=replace(world.machine, local=False))
    with pytest.raises(ConfigError, match="no option 'x'"):
        world.driver("one", options={"x": 1})
    with pytest.raises(Rejected, match="no writable disk"):
        world.driver("one", hypervisor=CopyingMachine(())).plan("quiesce-one", soon())


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=6))
def test_every_backup_holds_what_was_written_since_the_last_published_one(
    world: World, runs: list[tuple[bool, int]]
) -> None:
    """Whatever became of those in between: a run that fails costs the chain nothing."""
    shutil.rmtree(world.repository.path, ignore_errors=True)
    shutil.rmtree(world.repository.path.with_name("state"), ignore_errors=True)
    world.machine.copies.noted.clear()
    world.back_up("0")
    unstored = 0
    for number, (succeeds, written) in enumerate(runs, 1):
        world.machine.copies.write(written)
        unstored += written
        driver, plan = world.begin(str(number))
        assert plan["changed_bytes"] == unstored
        if succeeds:
            finish(driver, plan)
            unstored = 0
        else:
            driver.discard(plan, soon())
