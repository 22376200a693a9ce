"""The lab is what it says: real kernels, real agents, real freezes. Other tests rest on this one."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.lab import (
    HIDDEN_CHANNEL,
    PATIENCE,
    BareGuest,
    Disk,
    Guest,
    LabError,
    LabTimeout,
    LibvirtGuest,
    Spec,
    WireError,
    ask_agent,
    libvirtd,
    wait_for,
)
from tests.lab.kernel import run_tool
from tests.lab.places import CHECKOUT, guest_name
from tests.lab.proof import count_records, examine_ext4
from tests.lab.sharing import FreshBareGuest, FreshLibvirtGuest, Shared, bring_to_rest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

HOLD_SECONDS = 0.3


@pytest.fixture(params=["bare_guest", "libvirt_guest"])
def guest(request: pytest.FixtureRequest) -> Guest:
    """Return the session's guest of each form."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Guest)
    return found


def test_the_agent_is_a_real_one_on_real_file_systems(guest: Guest) -> None:
    assert guest.agent("guest-ping") == {}
    kinds = {found["mountpoint"]: found["type"] for found in guest.agent("guest-get-fsinfo")}
    assert kinds == {"/data": "ext4", "/xfs": "xfs"}
    assert guest.agent("guest-get-osinfo")["id"] == "quiesce-lab"


def test_the_agent_may_run_programs(guest: Guest) -> None:
    pid = guest.agent("guest-exec", {"path": "/bin/sh", "arg": ["-c", "sync; echo done >/run/told"]})["pid"]
    wait_for(lambda: guest.agent("guest-exec-status", {"pid": pid})["exited"], PATIENCE, "the end of the program")
    assert guest.shell("cat /run/told") == "done\n"


def test_a_guest_goes_on_where_one_that_had_booted_was_saved(guest: Guest) -> None:
    """Nothing tells: its clock is right, and its disks hold no more than any other's."""
    assert abs(int(guest.shell("date +%s")) - time.time()) < 30
    for disk in guest.disks:
        assert "snapshots" not in json.loads(run_tool("qemu-img", "info", "--force-share", "--output=json", str(disk)))


def test_libvirt_sees_the_guest_as_any_other(libvirt_guest: LibvirtGuest) -> None:
    assert libvirtd.virsh("domstate", libvirt_guest.name).strip() == "running"
    assert "/data" in libvirtd.virsh("domfsinfo", libvirt_guest.name)
    libvirtd.virsh("domfsfreeze", libvirt_guest.name)
    assert libvirt_guest.frozen_mounts() == ["/data", "/xfs"]
    libvirtd.virsh("domfsthaw", libvirt_guest.name)
    assert not libvirt_guest.fs_frozen()


def test_a_freeze_stalls_the_guests_applications(guest: Guest) -> None:
    guest.start_writer()
    guest.start_stallmeter()
    assert guest.agent("guest-fsfreeze-freeze") == 2
    assert guest.frozen_mounts() == ["/data", "/xfs"]
    flushed, begun = guest.writer_flushed(), guest.clock_ms()
    wait_for(lambda: guest.clock_ms() > begun + HOLD_SECONDS * 1000, PATIENCE, "the hold to pass")
    assert guest.writer_flushed() == flushed
    assert guest.agent("guest-fsfreeze-thaw") == 2
    wait_for(lambda: guest.writer_flushed() > flushed, PATIENCE, "the writer to go on")
    wait_for(guest.stalls, PATIENCE, "the stall to be noted")
    assert max(stall.ms for stall in guest.stop_stallmeter()) > HOLD_SECONDS * 1000
    last = guest.stop_writer()
    assert flushed < last <= guest.check_records() <= last + 1


def test_the_guests_clock_keeps_the_hosts_time(guest: Guest) -> None:
    assert guest.keeps_time()


def test_without_a_freeze_nothing_stalls_for_long(guest: Guest) -> None:
    def a_second_without_a_stall() -> bool:
        guest.start_stallmeter(threshold_ms=2000)
        begun = guest.clock_ms()
        wait_for(lambda: guest.clock_ms() > begun + 1000, PATIENCE, "a second in the guest")
        guest.mark("still here")
        return guest.stop_stallmeter() == []

    # A busy host stalls a guest, too, but not all the time.
    wait_for(a_second_without_a_stall, PATIENCE, "a second without a stall")
    assert any(line.startswith("MARK") and line.endswith("still here") for line in guest.meter_log())


def test_the_serial_line_serves_while_everything_is_frozen(guest: Guest) -> None:
    guest.agent("guest-fsfreeze-freeze")
    with pytest.raises(LabTimeout):
        guest.shell("echo x >/data/hangs", timeout=0.5)
    assert guest.shell("echo here") == "here\n"
    for mount in guest.frozen_mounts():
        guest.thaw_by_hand(mount)
    assert not guest.fs_frozen()
    wait_for(lambda: guest.run("cat /data/hangs").output == "x\n", PATIENCE, "the write that hung")


def test_the_agents_status_is_its_belief_and_its_count_the_truth(guest: Guest) -> None:
    assert guest.agent("guest-fsfreeze-freeze") == 2
    guest.thaw_by_hand("/xfs")
    assert guest.frozen_mounts() == ["/data"]
    assert guest.agent("guest-fsfreeze-status") == "frozen"
    assert guest.agent("guest-fsfreeze-thaw") == 1
    assert not guest.fs_frozen()


def test_a_freeze_by_hand_is_unknown_to_the_agent(guest: Guest) -> None:
    guest.freeze_by_hand("/data")
    assert guest.frozen_mounts() == ["/data"]
    assert guest.agent("guest-fsfreeze-status") == "thawed"


def test_the_agent_can_be_killed_muted_and_started(bare_guest: BareGuest) -> None:
    assert bare_guest.agent("guest-fsfreeze-freeze") == 2
    bare_guest.kill_agent()
    assert bare_guest.agent_pids() == []
    bare_guest.start_agent()
    assert bare_guest.agent("guest-fsfreeze-status") == "frozen"
    bare_guest.stop_agent()
    with pytest.raises(LabTimeout):
        bare_guest.agent("guest-ping", timeout=0.5)
    bare_guest.cont_agent()
    assert bare_guest.agent("guest-fsfreeze-thaw") == 2


def test_the_agents_options_and_hook(bare_guest: BareGuest) -> None:
    bare_guest.restart_agent("-b guest-exec", "#!/bin/sh\necho $1 >>/run/hook\n")
    assert bare_guest.agent("guest-fsfreeze-freeze") == 2
    assert bare_guest.agent("guest-fsfreeze-thaw") == 2
    assert bare_guest.shell("cat /run/hook").split() == ["freeze", "thaw"]
    with pytest.raises(WireError, match="guest-exec"):
        bare_guest.agent("guest-exec", {"path": "/bin/true"})


def test_a_shared_guest_is_brought_to_rest(bare_guest: BareGuest, shared_bare_guest: Shared[BareGuest]) -> None:
    bare_guest.start_writer()
    bare_guest.agent("guest-fsfreeze-freeze")
    bare_guest.stop_agent()
    assert shared_bare_guest.at_rest() is bare_guest
    assert bare_guest.agent("guest-fsfreeze-status") == "thawed"
    assert not bare_guest.fs_frozen()
    bare_guest.monitor("quit")
    replaced = shared_bare_guest.at_rest()
    assert replaced is not bare_guest
    assert replaced.agent("guest-ping") == {}


def test_a_loop_mount_is_one_more_file_system(bare_guest: BareGuest) -> None:
    bare_guest.mount_loop()
    assert len(bare_guest.agent("guest-get-fsinfo")) == 3
    bare_guest.umount_loop()
    assert len(bare_guest.agent("guest-get-fsinfo")) == 2


def test_a_cut_holds_every_record_that_was_flushed_before_it(fresh_bare_guest: FreshBareGuest, tmp_path: Path) -> None:
    guest = fresh_bare_guest(Spec(disks=(Disk("ext4"),)))
    guest.start_writer()
    assert guest.agent("guest-fsfreeze-freeze") == 1
    flushed = guest.writer_flushed()
    overlay = {"node-name": "disk0", "snapshot-file": str(tmp_path / "overlay"), "snapshot-node-name": "top"}
    guest.monitor("blockdev-snapshot-sync", overlay)
    assert guest.agent("guest-fsfreeze-thaw") == 1
    wait_for(lambda: guest.writer_flushed() > flushed + 10, PATIENCE, "the writer to go on")
    assert guest.active_disks() == [tmp_path / "overlay"]
    cut = guest.disks[0].rename(tmp_path / "cut")
    guest.stop()
    assert examine_ext4(cut).quiesced
    assert flushed <= count_records(cut) <= flushed + 1
    restored = fresh_bare_guest(Spec(disks=(Disk(image=cut),)))
    assert flushed <= restored.check_records() <= flushed + 1


def test_a_cut_without_a_freeze_is_told_from_one_with(fresh_bare_guest: FreshBareGuest, tmp_path: Path) -> None:
    guest = fresh_bare_guest(Spec(disks=(Disk("ext4"),)))
    guest.start_writer()
    overlay = {"node-name": "disk0", "snapshot-file": str(tmp_path / "overlay"), "snapshot-node-name": "top"}
    guest.monitor("blockdev-snapshot-sync", overlay)
    cut = guest.disks[0].rename(tmp_path / "cut")
    guest.stop()
    proof = examine_ext4(cut)
    assert proof.needs_recovery
    assert not proof.quiesced


@pytest.mark.parametrize("make", ["fresh_bare_guest", "fresh_libvirt_guest"])
def test_a_throttled_disk_is_slow(make: str, request: pytest.FixtureRequest) -> None:
    guest = request.getfixturevalue(make)(Spec(disks=(Disk("ext4", throttle=10 << 20), Disk("xfs"))))
    begun = time.monotonic()
    guest.shell("dd if=/dev/zero of=/data/big bs=1M count=20 oflag=direct 2>&1", timeout=30)
    assert time.monotonic() - begun > 1


def test_a_hidden_channel_is_reached_by_its_socket_alone(fresh_libvirt_guest: FreshLibvirtGuest) -> None:
    guest = fresh_libvirt_guest(Spec(disks=(Disk("ext4"),), channels=(HIDDEN_CHANNEL,)))
    assert guest.agent_socket is not None
    assert ask_agent(guest.agent_socket, "guest-ping") == {}
    with pytest.raises(LabError, match="agent is not configured"):
        libvirtd.virsh("qemu-agent-command", guest.name, '{"execute":"guest-ping"}')


def test_a_channels_socket_serves_one_client(bare_guest: BareGuest) -> None:
    assert bare_guest.agent_socket is not None
    answers: list[object] = []
    with BareClient(bare_guest.agent_socket):
        second = threading.Thread(target=lambda: answers.append(bare_guest.agent("guest-ping", timeout=20)))
        second.start()
        assert bare_guest.shell("echo here") == "here\n"
        assert answers == []
    second.join(30)
    assert answers == [{}]


class BareClient:
    """A client that connects to a socket and says nothing."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))

    def __enter__(self) -> "BareClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


@pytest.mark.parametrize("form", ["BareGuest", "LibvirtGuest"])
def test_a_guest_does_not_outlive_its_owner(form: str) -> None:
    source = f"import tests.lab; print(tests.lab.{form}().start().work, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", source], cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        work = Path(owner.stdout.readline().strip())
        assert work.is_dir()
        os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: not work.exists(), 30, "the end of the guest")
    domain = guest_name(work)
    if form == "LibvirtGuest":
        libvirtd.ensure()
        assert domain not in libvirtd.domains()
    assert not [name for name in running_guests() if name == domain]


def running_guests() -> list[str]:
    """Return the names of all guests on this host."""
    names = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        words = line.read_bytes().split(b"\0") if line.exists() else []
        names += [word.decode().removeprefix("guest=").split(",")[0] for word in words if b"quiesce-lab-" in word]
    return names


def test_bringing_to_rest_tells_when_it_cannot(fresh_bare_guest: FreshBareGuest) -> None:
    guest = fresh_bare_guest()
    bring_to_rest(guest)
    guest.monitor("quit")
    with pytest.raises(LabError):
        bring_to_rest(guest)
