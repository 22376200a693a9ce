"""What every Driver promises: the operator's programs, and external snapshots and backups of real guests.

Each test may be read as a life of a run; `again` is what recovery does, in another process, with the journaled plan.
"""

import json
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.drivers import find
from orchestrator.errors import Rejected
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Consistency, Cut, Machine, Proof
from orchestrator.ports import CopyingDriver, Driver, DriverContext, Hypervisor, Plan
from orchestrator.repository import FolderRepository
from tests.fakes.shelf import Shelf
from tests.lab import Guest, wait_for
from tests.lab.kernel import run_tool
from tests.lab.mounts import loop_mount

pytest_plugins = ["tests.lab.fixtures"]

SCRIPT = """#!/bin/sh -e
cd "$(dirname "$0")"
case "$1" in
    cut) echo "cut $QUIESCE_SNAPSHOT of $QUIESCE_MACHINE"; echo "$QUIESCE_RUN" >"cuts/$QUIESCE_SNAPSHOT" ;;
    verify) test -e "cuts/$QUIESCE_SNAPSHOT" ;;
    discard) ;;
esac
"""


class Subject(ABC):
    """A driver, and a way to see what it did without asking it."""

    @abstractmethod
    def driver(self, run_id: str) -> Driver:
        """The driver of one run, as a new process would make it."""

    @abstractmethod
    def state(self) -> Any:
        """All that a cut changes."""

    @abstractmethod
    def leftovers(self) -> set[Path]:
        """All that preparing makes."""


class Scripts(Subject):
    """The driver `command` with a script that makes a file for each cut."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = str(folder / "array")
        (folder / "cuts").mkdir()
        Path(self._program).write_text(SCRIPT)
        Path(self._program).chmod(0o755)

    def driver(self, run_id: str) -> Driver:
        options = {word: [self._program, word] for word in ("cut", "verify", "discard")}
        return find("command")(DriverContext(Machine("db1"), "nightly", run_id, options, None, SystemClock()))

    def state(self) -> Any:
        return sorted((self._folder / "cuts").iterdir())

    def leftovers(self) -> set[Path]:
        return set(self._folder.iterdir()) - {Path(self._program), self._folder / "cuts"}


class Backups(Subject):
    """The driver `backup` on a guest of the lab, with a repository of its own."""

    def __init__(self, guest: Guest, hypervisor: Hypervisor, folder: Path) -> None:
        self._guest = guest
        self._hypervisor = hypervisor
        self._folder = folder
        self._before = self._in_qemu()

    def driver(self, run_id: str) -> Driver:
        repository = FolderRepository(self._folder / "repository", self._folder / "state")
        machine = Machine(self._guest.name)
        return find("backup")(
            DriverContext(machine, "nightly", run_id, {}, self._hypervisor, SystemClock(), repository=repository)
        )

    def state(self) -> Any:
        return sorted(path for path in self._folder.glob(f"repository/{self._guest.name}/[!.]*"))

    def leftovers(self) -> set[Path]:
        """What is staged, and what QEMU has open, does, or notes for another backup than the newest."""
        kept = {f"quiesce-{path.name}" for path in self.state()[-1:]}
        staged = set(self._folder.glob(f"repository/{self._guest.name}/.*"))
        return staged | {Path(name) for name in self._in_qemu() - self._before - kept}

    def _in_qemu(self) -> set[str]:
        nodes = self._guest.monitor("query-named-block-nodes", {"flat": True})
        jobs = {job["device"] for job in self._guest.monitor("query-block-jobs")}
        bitmaps = {bitmap["name"] for node in nodes for bitmap in node.get("dirty-bitmaps", [])}
        return jobs | bitmaps | {node["node-name"] for node in nodes}


class Snapshots(Subject):
    """The driver `external-snapshot` on a guest of the lab."""

    def __init__(self, guest: Guest, hypervisor: Hypervisor) -> None:
        self._guest = guest
        self._hypervisor = hypervisor
        self._before = set(guest.work.iterdir())

    def driver(self, run_id: str) -> Driver:
        machine = Machine(self._guest.name)
        return find("external-snapshot")(DriverContext(machine, "nightly", run_id, {}, self._hypervisor, SystemClock()))

    def state(self) -> Any:
        return self._guest.active_disks()

    def leftovers(self) -> set[Path]:
        return set(self._guest.work.iterdir()) - self._before - set(self._guest.active_disks())


class Kept(Subject):
    """A driver that keeps image files, on a loop-mounted file system; the machine is nothing but its two disks."""

    def __init__(self, driver: str, folder: Path, images: Path) -> None:
        self._driver, self._folder = driver, folder
        images.mkdir(parents=True, exist_ok=True)
        self.disks = [images / "vm.raw", images / "data.qcow2"]
        self.disks[0].write_bytes(b"x" * (1 << 20))
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", str(self.disks[1]), "8M")

    def driver(self, run_id: str) -> Driver:
        context = DriverContext(Machine("db1"), "nightly", run_id, {}, Shelf(*self.disks), SystemClock())
        return find(self._driver)(context)

    def state(self) -> Any:
        return sorted(path for path in self._folder.glob("*quiesce-*") if path.suffix != ".partial")

    def leftovers(self) -> set[Path]:
        return set(self._folder.glob("*.partial"))


@pytest.fixture
def reflink(tmp_path: Path) -> Iterator[Subject]:
    with loop_mount("xfs", tmp_path) as folder:
        yield Kept("reflink", folder, folder)


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Subject]:
    with loop_mount("btrfs", tmp_path) as folder:
        run_tool("btrfs", "subvolume", "create", str(folder / "images"))
        yield Kept("btrfs", folder / "images", folder / "images" / "vms")


@pytest.fixture
def scripts(tmp_path: Path) -> Subject:
    return Scripts(tmp_path)


@pytest.fixture
def bare(request: pytest.FixtureRequest) -> Iterator[Subject]:
    guest = request.getfixturevalue("bare_guest")
    hypervisor = BareMachine(str(guest.qmp_socket))
    yield Snapshots(guest, hypervisor)
    hypervisor.close()


@pytest.fixture
def libvirt(request: pytest.FixtureRequest) -> Iterator[Subject]:
    guest = request.getfixturevalue("libvirt_guest")
    hypervisor = LibvirtDomain(guest.uri, guest.name, SystemClock())
    yield Snapshots(guest, hypervisor)
    hypervisor.close()


@pytest.fixture
def bare_backups(request: pytest.FixtureRequest, readable: Path) -> Iterator[Subject]:
    guest = request.getfixturevalue("bare_guest")
    hypervisor = BareMachine(str(guest.qmp_socket))
    yield Backups(guest, hypervisor, readable)
    hypervisor.close()


@pytest.fixture
def libvirt_backups(request: pytest.FixtureRequest, readable: Path) -> Iterator[Subject]:
    guest = request.getfixturevalue("libvirt_guest")
    hypervisor = LibvirtDomain(guest.uri, guest.name, SystemClock())
    yield Backups(guest, hypervisor, readable)
    hypervisor.close()


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that QEMU can reach, whatever user it runs as."""
    with tempfile.TemporaryDirectory(prefix="qrepo-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


REAL = ("bare", "libvirt", "bare_backups", "libvirt_backups")


@pytest.fixture(params=["scripts", "reflink", "btrfs", *(pytest.param(name, marks=pytest.mark.real) for name in REAL)])
def subject(request: pytest.FixtureRequest) -> Subject:
    made: Subject = request.getfixturevalue(request.param)
    return made


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 20)


def journaled(plan: Plan) -> Plan:
    """The plan as another process finds it."""
    document: Plan = json.loads(json.dumps(dict(plan)))
    return document


def cut(driver: Driver, plan: Plan) -> Mapping[str, Any]:
    """The cut, and all that it only began."""
    made = driver.cut(plan, soon())
    if isinstance(driver, CopyingDriver):
        wait_for(lambda: driver.copied(plan, soon()).ended, 60, "the end of the copy")
        now = SystemClock().now()
        made = driver.publish(plan, Cut(now, Consistency.FILESYSTEM, Proof(frozen=2, thawed=2)), soon())
    return made


def test_a_run_from_plan_to_cut(subject: Subject) -> None:
    driver, before = subject.driver("c1"), subject.state()
    plan = driver.plan("quiesce-c1", soon())
    assert subject.leftovers() == set()
    driver.prepare(plan, soon())
    assert subject.state() == before
    assert driver.happened(plan, soon()) is None
    made = cut(driver, plan)
    assert subject.state() != before
    json.dumps(dict(made))
    again = driver.happened(plan, soon())
    assert again is not None
    json.dumps(dict(again))
    assert subject.leftovers() == set()


def test_a_second_run_finds_a_machine_that_was_cut_before(subject: Subject) -> None:
    states = [subject.state()]
    for run in ("s1", "s2", "s3"):
        driver = subject.driver(run)
        plan = driver.plan(f"quiesce-{run}", soon())
        driver.prepare(plan, soon())
        cut(driver, plan)
        states.append(subject.state())
        driver.close()
    assert len({str(state) for state in states}) == 4
    longest = [max(len(str(path)) for path in state) for state in states[1:]]
    assert longest[0] == longest[2]


@pytest.mark.parametrize("killed_after", [[], ["prepare"], ["prepare", "discard"]], ids=str)
def test_what_a_killed_process_prepared_is_removed_by_another(subject: Subject, killed_after: list[str]) -> None:
    before = subject.state()
    driver = subject.driver("k1")
    plan = driver.plan("quiesce-k1", soon())
    for step in killed_after:
        getattr(driver, step)(plan, soon())
    again = subject.driver("k1")
    assert again.happened(journaled(plan), soon()) is None
    again.discard(journaled(plan), soon())
    again.discard(journaled(plan), soon())
    assert subject.leftovers() == set()
    assert subject.state() == before


def test_a_cut_is_found_by_another_process_and_not_removed(subject: Subject) -> None:
    driver = subject.driver("f1")
    plan = driver.plan("quiesce-f1", soon())
    driver.prepare(plan, soon())
    cut(driver, plan)
    after = subject.state()
    again = subject.driver("f1")
    assert again.happened(journaled(plan), soon()) is not None
    try:
        again.discard(journaled(plan), soon())
    except Rejected as refused:
        assert "nothing was removed" in str(refused)
    assert subject.state() == after
    assert again.happened(journaled(plan), soon()) is not None


def test_a_cut_below_a_later_one_is_found_and_not_removed(subject: Subject) -> None:
    plans = []
    for run in ("b1", "b2"):
        driver = subject.driver(run)
        plans.append(driver.plan(f"quiesce-{run}", soon()))
        driver.prepare(plans[-1], soon())
        cut(driver, plans[-1])
    after, files = subject.state(), subject.leftovers()
    again = subject.driver("b1")
    assert again.happened(journaled(plans[0]), soon()) is not None
    try:
        again.discard(journaled(plans[0]), soon())
    except Rejected as refused:
        assert "nothing was removed" in str(refused)
    assert (subject.state(), subject.leftovers()) == (after, files)
