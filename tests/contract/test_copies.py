"""What every Copies promises: a machine in memory, a bare QEMU and libvirt, these two with real guests."""

import json
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.errors import CallError, OutcomeUnknown, Rejected
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Disk, DiskCopy
from orchestrator.ports import CopyingHypervisor, Hypervisor
from tests.fakes.copies import CopyingMachine
from tests.fakes.relay import Relay
from tests.lab import BareGuest, Guest, libvirtd, wait_for
from tests.lab import Disk as LabDisk
from tests.lab.base import Spec
from tests.lab.kernel import run_tool
from tests.lab.libvirtd import virsh
from tests.lab.sharing import FreshBareGuest

pytest_plugins = ["tests.lab.fixtures"]

#: More than the file system's own records of a write.
MUCH = 2 << 20


class Subject(ABC):
    """A machine whose disks are copied, and what only its owner can do and see."""

    def __init__(self, hypervisor: Hypervisor, folder: Path) -> None:
        assert isinstance(hypervisor, CopyingHypervisor)
        self.copies = hypervisor.copies
        self.disks = hypervisor.disks(soon())
        self._folder = folder

    @abstractmethod
    def write(self) -> None:
        """Let the guest write something new: at least MUCH."""

    @abstractmethod
    def traces(self) -> set[str]:
        """What the copies that are not ended, and the checkpoints, have left in the machine."""

    def files(self, run: str) -> tuple[DiskCopy, ...]:
        """An empty file for each disk."""
        return tuple(empty(disk, self._folder / f"{run}-{disk.name}.qcow2") for disk in self.disks)

    def begin(self, run: str, since: str | None = None) -> tuple[DiskCopy, ...]:
        """Begin a copy."""
        copies = self.files(run)
        self.copies.open(run, since, copies, soon())
        self.copies.begin(run, since, copies, soon())
        return copies

    def copy(self, run: str, since: str | None = None) -> tuple[DiskCopy, ...]:
        """A whole copy."""
        copies = self.begin(run, since)
        self.wait(copies)
        self.copies.end(copies, soon())
        self.copies.leave(run, soon())
        return copies

    def wait(self, copies: Sequence[DiskCopy]) -> None:
        wait_for(lambda: self.copies.progress(copies, None, soon()).ended, 60, "the end of the copy")


class InMemory(Subject):
    def __init__(self, folder: Path) -> None:
        self._machine = CopyingMachine((Disk("vda", "vda", "/images/vda", "qcow2", 1 << 20),))
        super().__init__(self._machine, folder)

    def write(self) -> None:
        self._machine.copies.write(MUCH)

    def traces(self) -> set[str]:
        copies = self._machine.copies
        return set(copies.noted) | copies.opened | set(copies.going)


class Real(Subject):
    def __init__(self, guest: Guest, hypervisor: Hypervisor, relay: Relay) -> None:
        super().__init__(hypervisor, guest.work)
        self.guest, self.relay, self._written = guest, relay, 0
        self._before = self._found()

    def write(self) -> None:
        self._written += 1
        file = f"/data/copied{self._written}"
        self.guest.shell(f"dd if=/dev/urandom of={file} bs=1M count=2 conv=fsync 2>/dev/null", timeout=60)

    def traces(self) -> set[str]:
        return self._found() - self._before

    def speeds(self) -> list[int]:
        """The bytes per second that each of QEMU's copies may take."""
        return [job["speed"] for job in self.guest.monitor("query-block-jobs")]

    def _found(self) -> set[str]:
        nodes = self.guest.monitor("query-named-block-nodes", {"flat": True})
        jobs = {job["device"] for job in self.guest.monitor("query-block-jobs")}
        bitmaps = {bitmap["name"] for node in nodes for bitmap in node.get("dirty-bitmaps", [])}
        known = set() if self.guest.qmp_socket else set(virsh("checkpoint-list", self.guest.name, "--name").split())
        files = {node["file"] for node in nodes if str(self.guest.work) in node["file"]}
        return jobs | bitmaps | {f"checkpoint {name}" for name in known} | files


def soon(seconds: float = 30) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def empty(disk: Disk, path: Path) -> DiskCopy:
    run_tool("qemu-img", "create", "-f", "qcow2", str(path), str(disk.size_bytes))
    path.chmod(0o666)
    return DiskCopy(disk, str(path))


def real(request: pytest.FixtureRequest, form: str, folder: Path) -> Iterator[Real]:
    guest: Guest = request.getfixturevalue(f"{form}_guest")
    socket = folder / "relay"
    hypervisor: Hypervisor
    if guest.qmp_socket is not None:
        target, hypervisor = guest.qmp_socket, BareMachine(str(socket))
    else:
        target = libvirtd.SOCKET
        hypervisor = LibvirtDomain(f"qemu+unix:///system?socket={socket}", guest.name, SystemClock())
    with Relay(socket, target) as relay:
        subject = Real(guest, hypervisor, relay)
        yield subject
        guest.shell("rm -f /data/copied*; sync")
        hypervisor.close()


@pytest.fixture
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Real]:
    yield from real(request, "bare", tmp_path)


@pytest.fixture
def libvirt(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Real]:
    yield from real(request, "libvirt", tmp_path)


@pytest.fixture
def memory(tmp_path: Path) -> Subject:
    return InMemory(tmp_path)


REAL = [pytest.param(form, marks=pytest.mark.real) for form in ("bare", "libvirt")]


@pytest.fixture(params=["memory", *REAL])
def subject(request: pytest.FixtureRequest) -> Subject:
    found: Subject = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=REAL)
def machine(request: pytest.FixtureRequest) -> Real:
    found: Real = request.getfixturevalue(request.param)
    return found


def test_a_checkpoint_notes_what_is_written_from_its_cut_on(subject: Subject) -> None:
    subject.write()
    subject.copy("quiesce-n1")
    least = subject.copies.changed("quiesce-n1", subject.disks, soon())
    subject.write()

    assert subject.copies.changed("quiesce-n1", subject.disks, soon()) >= least + MUCH
    assert subject.traces() == {"quiesce-n1"}


def test_the_last_checkpoint_has_noted_everything_whatever_became_of_the_copy_after_it(subject: Subject) -> None:
    subject.copy("quiesce-k1")
    subject.write()
    noted = subject.copies.changed("quiesce-k1", subject.disks, soon())
    copies = subject.begin("quiesce-k2", "quiesce-k1")
    subject.write()
    subject.copies.end(copies, soon())
    subject.copies.forget("quiesce-k2", subject.disks, soon())
    subject.copies.leave("quiesce-k1", soon())

    assert subject.copies.changed("quiesce-k1", subject.disks, soon()) >= noted + MUCH
    assert subject.traces() == {"quiesce-k1"}


def test_a_checkpoint_can_be_forgotten_and_others_note_on(subject: Subject) -> None:
    subject.copy("quiesce-f1")
    subject.copy("quiesce-f2", "quiesce-f1")
    for _ in range(2):
        subject.copies.forget("quiesce-f1", subject.disks, soon())
    subject.write()

    assert subject.copies.changed("quiesce-f2", subject.disks, soon()) >= MUCH
    with pytest.raises(Rejected, match="quiesce-f1"):
        subject.copies.changed("quiesce-f1", subject.disks, soon())
    assert subject.traces() == {"quiesce-f2"}


def test_what_was_never_begun_is_ended_and_forgotten_any_number_of_times(subject: Subject) -> None:
    copies = subject.files("quiesce-e1")
    for _ in range(2):
        subject.copies.end(copies, soon())
        subject.copies.forget("quiesce-e1", subject.disks, soon())
        subject.copies.leave("quiesce-e1", soon())
    subject.copies.open("quiesce-e1", None, copies, soon())
    subject.copies.open("quiesce-e1", None, copies, soon())
    subject.copies.end(copies, soon())
    subject.copies.forget("quiesce-e1", subject.disks, soon())

    assert subject.traces() == set()
    with pytest.raises(CallError):
        subject.copies.progress(copies, None, soon())


def test_a_copy_cannot_stand_on_what_is_not_there(subject: Subject) -> None:
    copies = subject.files("quiesce-u1")
    with pytest.raises(Rejected, match="quiesce-never"):
        subject.copies.open("quiesce-u1", "quiesce-never", copies, soon())
        subject.copies.begin("quiesce-u1", "quiesce-never", copies, soon())
    subject.copies.end(copies, soon())
    subject.copies.forget("quiesce-u1", subject.disks, soon())
    assert subject.traces() == set()


def test_a_copy_and_what_changed_since_make_up_the_disks(machine: Real) -> None:
    machine.write()
    full = machine.copy("quiesce-c1")
    machine.write()
    machine.guest.shell("dd if=/dev/zero of=/data/copied1 bs=1M count=2 conv=fsync,notrunc 2>/dev/null")
    machine.guest.monitor("stop")
    try:
        changed = machine.copy("quiesce-c2", "quiesce-c1")
    finally:
        machine.guest.monitor("cont")
    # What the guest has not flushed yet is in QEMU: so the copies are compared with a third one, of everything.
    machine.guest.monitor("stop")
    try:
        whole = machine.copy("quiesce-c3")
    finally:
        machine.guest.monitor("cont")

    for below, above, all_of_it in zip(full, changed, whole, strict=True):
        assert "backing-filename" not in json.loads(run_tool("qemu-img", "info", "--output=json", above.path))
        run_tool("qemu-img", "rebase", "-u", "-b", below.path, "-F", "qcow2", above.path)
        assert "identical" in run_tool("qemu-img", "compare", above.path, all_of_it.path)


def test_a_beginning_whose_answer_was_lost_is_unknown_and_can_be_ended(machine: Real) -> None:
    copies = machine.files("quiesce-l1")
    machine.copies.open("quiesce-l1", None, copies, soon())
    machine.relay.lose_answers(b"transaction" if machine.guest.qmp_socket else b"domainbackup")
    with pytest.raises(OutcomeUnknown):
        machine.copies.begin("quiesce-l1", None, copies, soon(3))
    machine.relay.pass_on_answers()
    machine.copies.end(copies, soon())
    machine.copies.forget("quiesce-l1", machine.disks, soon())

    assert machine.traces() == set()


@pytest.mark.real
def test_a_copy_stands_still_until_it_is_looked_at_and_then_keeps_to_its_rate(bare: Real) -> None:
    """libvirt's can be slowed down only when they run already: those of such small disks have ended by then."""
    bare.write()
    copies = bare.begin("quiesce-r1")
    assert bare.speeds() == [1] * len(copies)
    bare.copies.progress(copies, 64 << 10, soon())
    assert bare.speeds() == [32 << 10] * len(copies)
    bare.wait(copies)  # without a rate
    bare.copies.end(copies, soon())
    bare.copies.forget("quiesce-r1", bare.disks, soon())


@pytest.mark.real
def test_a_job_of_somebody_elses_is_told_before_the_freeze(libvirt: Real) -> None:
    backup, name = libvirt.guest.work / "others.xml", libvirt.guest.name
    socket = libvirt.guest.work / "nbd"
    backup.write_text(f"<domainbackup mode='pull'><server transport='unix' socket='{socket}'/></domainbackup>")
    virsh("backup-begin", name, str(backup))
    try:
        with pytest.raises(Rejected, match="another job of libvirt's runs on the domain"):
            libvirt.copies.open("quiesce-o1", None, libvirt.files("quiesce-o1"), soon())
    finally:
        virsh("domjobabort", name)
    wait_for(lambda: "None" in virsh("domjobinfo", name), 30, "the end of the other job")


@pytest.fixture
def little_space(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 2 MiB."""
    folder = tmp_path / "little"
    folder.mkdir()
    run_tool("mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder))
    yield folder
    run_tool("umount", "--lazy", str(folder))


@pytest.mark.real
def test_a_guest_that_stands_still_because_the_target_is_full_runs_on(
    fresh_bare_guest: FreshBareGuest, little_space: Path
) -> None:
    """QEMU takes the target's lack of space for the disk's, and pauses a guest that overwrites what is not copied."""
    guest: BareGuest = fresh_bare_guest(Spec(disks=(LabDisk("ext4"),)))
    guest.shell("dd if=/dev/urandom of=/data/old bs=1M count=8 conv=fsync 2>/dev/null", timeout=60)
    machine = BareMachine(str(guest.qmp_socket))
    [disk] = machine.disks(soon())
    copies = [empty(disk, little_space / "vda.qcow2")]
    machine.copies.open("quiesce-s1", None, copies, soon())
    machine.copies.begin("quiesce-s1", None, copies, soon())
    overwrite = "dd if=/dev/urandom of=/data/old bs=1M count=8 conv=fsync,notrunc 2>/dev/null"
    guest.shell(f"({overwrite}; echo $? >/run/ended) & :")
    wait_for(lambda: guest.monitor("query-status")["status"] == "io-error", 60, "QEMU to pause the guest")

    with pytest.raises(Rejected, match="is the repository's disk full"):
        machine.copies.progress(copies, None, soon())
    machine.copies.end(copies, soon())
    machine.close()
    assert guest.monitor("query-status")["running"]
    wait_for(lambda: guest.run("cat /run/ended").output.strip() == "0", 60, "the guest's write")
    assert subprocess.run(["qemu-img", "check", "-q", copies[0].path], check=False).returncode == 0
