"""External snapshots of real guests: where the data goes, and what stands in the way."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import Deadline, SystemClock, Task
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.errors import OutcomeUnknown, Rejected, Unreachable
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Machine, Power
from orchestrator.ports import DriverContext, Hypervisor, Plan
from tests.lab import PATIENCE, BareGuest, Disk, Guest, LibvirtGuest, Spec, wait_for
from tests.lab.kernel import run_tool
from tests.lab.libvirtd import virsh
from tests.lab.sharing import FreshBareGuest, FreshLibvirtGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

CLOCK = SystemClock()
PING = '{"execute":"guest-ping"}'
#: What stands in for ssh: the host that libvirt wants to reach is this one.
TO_THIS_HOST = "#!/bin/sh\nexec virt-ssh-helper qemu:///system\n"


def soon() -> Deadline:
    return Deadline.after(CLOCK, 60)


def driver(hypervisor: Hypervisor) -> ExternalSnapshot:
    return ExternalSnapshot(DriverContext(Machine("guest"), "nightly", "r", {}, hypervisor, CLOCK))


def cut(hypervisor: Hypervisor, snapshot: str) -> Plan:
    made = driver(hypervisor)
    plan = made.plan(snapshot, soon())
    made.prepare(plan, soon())
    made.cut(plan, soon())
    return plan


def chain(path: str | Path) -> list[dict[str, Any]]:
    """The chain as the files tell it, also while QEMU writes to them."""
    told = run_tool("qemu-img", "info", "--force-share", "--backing-chain", "--output=json", str(path))
    images: list[dict[str, Any]] = json.loads(told)
    return images


@pytest.fixture(params=["bare", "libvirt"])
def guest(request: pytest.FixtureRequest) -> Guest:
    found: Guest = request.getfixturevalue(f"{request.param}_guest")
    return found


@pytest.fixture
def hypervisor(guest: Guest) -> Iterator[Hypervisor]:
    made: Hypervisor
    if guest.qmp_socket is not None:
        made = BareMachine(str(guest.qmp_socket))
    else:
        made = LibvirtDomain("qemu:///system", guest.name, CLOCK)
    yield made
    made.close()


def test_after_the_cut_the_guest_writes_to_the_overlay_alone(guest: Guest, hypervisor: Hypervisor) -> None:
    below = guest.active_disks()
    plan = cut(hypervisor, "quiesce-w1")
    before = [path.read_bytes() for path in below]
    guest.shell("dd if=/dev/urandom of=/data/new bs=64k count=32 2>/dev/null; sync", timeout=30)
    assert [path.read_bytes() for path in below] == before
    images = chain(plan["disks"][0]["overlay"])
    assert [image["filename"] for image in images[:2]] == [plan["disks"][0]["overlay"], str(below[0])]
    assert images[0]["format"] == "qcow2"
    assert images[0]["backing-filename-format"] == plan["disks"][0]["format"]
    assert images[0]["actual-size"] > 2 << 20
    assert images[0]["virtual-size"] == images[-1]["virtual-size"]


def test_each_snapshot_keeps_what_the_guest_had_written_by_then(
    guest: Guest, hypervisor: Hypervisor, tmp_path: Path
) -> None:
    # /data is the guest's first disk. Each point in time is what lies below the overlay of its cut.
    cuts = []
    for turn in ("one", "two"):
        guest.shell(f"echo {turn} >/data/turn; sync")
        cuts.append(cut(hypervisor, f"quiesce-{turn}")["disks"][0])
    guest.shell("echo three >/data/turn; sync")
    for turn, disk in zip(("one", "two"), cuts, strict=True):
        restored = tmp_path / f"{turn}.raw"
        run_tool("qemu-img", "convert", "--force-share", "-O", "raw", disk["path"], str(restored))
        assert run_tool("debugfs", "-R", "cat /turn", str(restored)).strip() == turn


def test_a_raw_disk_gets_a_qcow2_overlay(fresh_bare_guest: FreshBareGuest, tmp_path: Path) -> None:
    image = tmp_path / "vm.raw"
    image.write_bytes(bytes(8 << 20))
    guest = fresh_bare_guest(Spec(disks=(Disk(image=image, mount="-"),)))
    machine = BareMachine(str(guest.qmp_socket))
    plan = cut(machine, "quiesce-raw")
    machine.close()
    assert plan["disks"][0]["format"] == "raw"
    assert [path.name for path in guest.active_disks()] == ["vm.quiesce-raw.qcow2"]
    assert [layer["format"] for layer in chain(plan["disks"][0]["overlay"])] == ["qcow2", "raw"]


@pytest.fixture
def little_space(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 1 MiB."""
    folder = tmp_path / "little"
    folder.mkdir()
    run_tool("mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder))
    yield folder
    run_tool("umount", "--lazy", str(folder))


def test_a_full_disk_is_told_and_nothing_stays(fresh_bare_guest: FreshBareGuest, little_space: Path) -> None:
    image = little_space / "vm.raw"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    guest = fresh_bare_guest(Spec(disks=(Disk(image=image, mount="-"),)))
    with pytest.raises(OSError, match="No space left"):
        (little_space / "filler").write_bytes(bytes(2 << 20))
    machine = BareMachine(str(guest.qmp_socket))
    failing = driver(machine)
    plan = failing.plan("quiesce-full", soon())
    with pytest.raises(Rejected, match=r"cannot make the overlay .*No space left on device"):
        failing.prepare(plan, soon())
    assert failing.happened(plan, soon()) is None
    failing.discard(plan, soon())
    machine.close()
    assert sorted(path.name for path in little_space.iterdir()) == ["filler", "vm.raw"]
    assert guest.active_disks() == [image]


def test_an_overlay_that_qemu_holds_open_is_removed_after_it_let_go(bare_guest: BareGuest) -> None:
    before = bare_guest.active_disks()
    first = BareMachine(str(bare_guest.qmp_socket))
    plan = driver(first).plan("quiesce-held", soon())
    driver(first).prepare(plan, soon())
    first.close()  # its process died here
    again = BareMachine(str(bare_guest.qmp_socket))
    assert driver(again).happened(plan, soon()) is None
    driver(again).discard(plan, soon())
    again.close()
    nodes = bare_guest.monitor("query-named-block-nodes")
    assert not [node for node in nodes if "quiesce-held" in node["file"]]
    assert not [disk["overlay"] for disk in plan["disks"] if Path(disk["overlay"]).exists()]
    assert bare_guest.active_disks() == before


def test_a_qemu_that_ended_is_unreachable_and_nothing_is_removed(fresh_bare_guest: FreshBareGuest) -> None:
    guest = fresh_bare_guest()
    machine = BareMachine(str(guest.qmp_socket))
    plan = cut(machine, "quiesce-last")
    machine.close()
    guest.monitor("quit")
    for ask in (driver(machine).happened, driver(machine).discard):
        with pytest.raises((Unreachable, OutcomeUnknown)):
            ask(plan, soon())
    assert all(Path(disk["overlay"]).exists() for disk in plan["disks"])


# libvirt alone


def test_a_domain_and_a_libvirt_that_are_not_there_are_named(libvirt_guest: LibvirtGuest, tmp_path: Path) -> None:
    missing = LibvirtDomain(libvirt_guest.uri, "no-such-domain", CLOCK)
    for ask in (missing.power, missing.disks):
        with pytest.raises(Rejected, match="there is no domain no-such-domain at qemu:///system"):
            ask(soon())
    nowhere = LibvirtDomain(f"qemu+unix:///system?socket={tmp_path}/none", libvirt_guest.name, CLOCK)
    with pytest.raises(Unreachable, match=f"cannot connect to libvirt at .*{tmp_path}/none"):
        nowhere.power(soon())


def test_a_domain_that_was_shut_off_after_its_cut_still_tells_of_it(fresh_libvirt_guest: FreshLibvirtGuest) -> None:
    guest = fresh_libvirt_guest()
    domain = LibvirtDomain(guest.uri, guest.name, CLOCK)
    plans = [cut(domain, f"quiesce-off{turn}") for turn in (1, 2)]
    never = driver(domain).plan("quiesce-never", soon())
    virsh("destroy", guest.name)
    assert domain.power(soon()) is Power.OFF
    assert [disk.path for disk in domain.disks(soon())] == [disk["overlay"] for disk in plans[1]["disks"]]
    for plan in plans:
        assert driver(domain).happened(plan, soon()) is not None
        with pytest.raises(Rejected, match="nothing was removed"):
            driver(domain).discard(plan, soon())
    assert driver(domain).happened(never, soon()) is None


def test_a_paused_domain_is_cut_all_the_same(libvirt_guest: LibvirtGuest) -> None:
    domain = LibvirtDomain(libvirt_guest.uri, libvirt_guest.name, CLOCK)
    virsh("suspend", libvirt_guest.name)
    try:
        assert domain.power(soon()) is Power.PAUSED
        plan = cut(domain, "quiesce-paused")
    finally:
        virsh("resume", libvirt_guest.name)
    assert [str(path) for path in libvirt_guest.active_disks()] == [disk["overlay"] for disk in plan["disks"]]


def test_a_snapshot_leaves_libvirt_no_metadata(libvirt_guest: LibvirtGuest) -> None:
    plan = cut(LibvirtDomain(libvirt_guest.uri, libvirt_guest.name, CLOCK), "quiesce-meta")
    assert virsh("snapshot-list", libvirt_guest.name, "--name").split() == []
    listed = virsh("domblklist", libvirt_guest.name)
    assert all(disk["overlay"] in listed for disk in plan["disks"])


def test_on_another_host_libvirt_makes_the_overlays(libvirt_guest: LibvirtGuest, tmp_path: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(TO_THIS_HOST)
    ssh.chmod(0o755)
    remote = LibvirtDomain(f"qemu+ssh://localhost/system?command={ssh}", libvirt_guest.name, CLOCK)
    assert not remote.local
    made = driver(remote)
    plan = made.plan("quiesce-remote", soon())
    made.prepare(plan, soon())
    overlays = [Path(disk["overlay"]) for disk in plan["disks"]]
    assert not [path for path in overlays if path.exists()]
    assert made.happened(plan, soon()) is None
    made.cut(plan, soon())
    assert libvirt_guest.active_disks() == overlays
    assert made.happened(plan, soon()) is not None
    made.discard(plan, soon())
    assert [path for path in overlays if path.exists()] == overlays


BACKUP = "<domainbackup mode='pull'><server transport='unix' socket='{}'/></domainbackup>"


def test_while_libvirt_is_busy_a_cut_is_not_denied(libvirt_guest: LibvirtGuest) -> None:
    """A cut that was left behind may wait for the end of another client's job, here a backup, and come then."""
    domain = LibvirtDomain(libvirt_guest.uri, libvirt_guest.name, CLOCK)
    made = driver(domain)
    plan = made.plan("quiesce-busy", soon())
    made.prepare(plan, soon())
    backup = libvirt_guest.work / "backup.xml"
    backup.write_text(BACKUP.format(libvirt_guest.work / "nbd"))
    virsh("backup-begin", libvirt_guest.name, str(backup))
    try:
        assert domain.power(soon()) is Power.RUNNING
        for ask in (made.happened, made.discard):
            with pytest.raises(OutcomeUnknown, match="libvirt is still busy with the domain"):
                ask(plan, soon())
        assert all(Path(disk["overlay"]).exists() for disk in plan["disks"])
    finally:
        virsh("domjobabort", libvirt_guest.name)
    wait_for(lambda: "None" in virsh("domjobinfo", libvirt_guest.name), PATIENCE, "the end of the backup")
    assert made.happened(plan, soon()) is None
    made.discard(plan, soon())
    assert not [disk for disk in plan["disks"] if Path(disk["overlay"]).exists()]


def test_machines_that_hang_do_not_hold_up_another(
    libvirt_guest: LibvirtGuest, fresh_libvirt_guest: FreshLibvirtGuest
) -> None:
    """libvirtd serves one connection five calls at a time: six agents that do not answer would fill it."""
    mute = fresh_libvirt_guest()
    mute.stop_agent()
    hung = [LibvirtDomain(mute.uri, mute.name, CLOCK) for _ in range(6)]
    asked = [Task(CLOCK, "hung", partial(domain.agent_command, PING, Deadline.after(CLOCK, 4))) for domain in hung]
    other = LibvirtDomain(libvirt_guest.uri, libvirt_guest.name, CLOCK)
    assert other.agent_command(PING, Deadline.after(CLOCK, 2)) == '{"return":{}}'
    assert not any(task.wait(Deadline.after(CLOCK, 0)) for task in asked)
    for task in asked:
        task.join()
        with pytest.raises((OutcomeUnknown, Unreachable)):
            task.result()
