"""The fuse in a real guest: with nobody left on the host, its application goes on; put out, nothing is left of it."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import orchestrator.fuse
from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import SystemClock
from orchestrator.fuse import light, put_out
from orchestrator.model import Action
from orchestrator.recorder import Recorder
from tests.fakes.deadlines import later
from tests.lab import BareGuest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

RUN, OTHER = "20260101-000000-abcdef", "20260101-000001-abcdef"
FUSES = "grep -l [q]uiesce-fuse /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3; :"
SCRIPTS = [Path(orchestrator.fuse.__file__).with_name(name) for name in ("guest.sh", "fuse.sh")]
CLOCK = SystemClock()
LONG = 600.0


@pytest.fixture
def guest(bare_guest: BareGuest) -> Iterator[BareGuest]:
    yield bare_guest
    bare_guest.run("killall -9 sleep")  # whatever is lit burns, and ends
    wait_for(lambda: not fuses(bare_guest), 30, "the end of the fuses")


@pytest.fixture
def agent(guest: BareGuest) -> Iterator[GuestAgent]:
    with closing(client(guest)) as agent:
        yield agent


def client(guest: BareGuest) -> GuestAgent:
    return GuestAgent(unix_channel(str(guest.agent_socket)))


def fuses(guest: BareGuest) -> list[int]:
    return [int(pid) for pid in guest.shell(FUSES).split()]


def lit(agent: GuestAgent, seconds: float = LONG, run: str = RUN) -> None:
    light(agent, run, seconds, Recorder("vm", CLOCK), CLOCK)


def put_out_found(agent: GuestAgent, run: str = RUN) -> object:
    """Put it out, and return whether it was there."""
    recorder = Recorder("vm", CLOCK)
    put_out(agent, run, recorder, CLOCK)
    [step] = recorder.steps
    assert (step.action, step.error, step.figures["lit"]) == (Action.FUSE, None, False)
    return step.figures["found"]


def freeze(guest: BareGuest, agent: GuestAgent) -> None:
    agent.freeze((), later())
    assert guest.frozen_mounts() == ["/data", "/xfs"]


def wait_thawed(guest: BareGuest) -> None:
    wait_for(lambda: not guest.fs_frozen(), 30, "the fuse to burn")


def test_with_nobody_left_on_the_host_the_application_writes_again(guest: BareGuest) -> None:
    guest.start_writer()
    with closing(client(guest)) as agent:
        lit(agent, seconds=3)
        freeze(guest, agent)
    stalled = guest.writer_flushed()
    wait_for(lambda: guest.writer_flushed() > stalled + 1, 30, "the application to write again")
    assert not guest.fs_frozen() and not fuses(guest)
    with closing(client(guest)) as agent:
        assert agent.freeze_status(later()) == "frozen", "nobody has told the agent"
        assert agent.thaw(later()) == 0, "the count tells that it burnt"
        assert put_out_found(agent) is False
    guest.stop_writer()


def test_put_out_nothing_is_left_of_it(guest: BareGuest, agent: GuestAgent) -> None:
    lit(agent)
    assert len(fuses(guest)) == 1
    freeze(guest, agent)
    assert agent.thaw(later()) == 2
    assert put_out_found(agent) is True
    assert not fuses(guest) and not guest.run("pidof sleep").output.strip()
    assert put_out_found(agent) is False


def test_it_goes_out_for_its_own_run_only(guest: BareGuest, agent: GuestAgent) -> None:
    lit(agent)
    assert put_out_found(agent, OTHER) is False
    assert len(fuses(guest)) == 1


def test_the_next_run_leaves_no_earlier_fuse(guest: BareGuest, agent: GuestAgent) -> None:
    lit(agent)
    lit(agent, run=OTHER)
    assert len(fuses(guest)) == 1
    assert put_out_found(agent) is False
    assert put_out_found(agent, OTHER) is True


def test_it_outlives_the_agents_service(guest: BareGuest, agent: GuestAgent) -> None:
    """As systemd ends a service that hangs: all that is in its control group, by SIGKILL."""
    service = "/sys/fs/cgroup/agent"
    guest.shell(f"mount -t cgroup2 none /sys/fs/cgroup; mkdir {service}")
    try:
        for pid in guest.agent_pids():
            guest.shell(f"echo {pid} >{service}/cgroup.procs")
        lit(agent, seconds=3)
        freeze(guest, agent)
        guest.shell(f"echo 1 >{service}/cgroup.kill")
        wait_for(lambda: not guest.agent_pids(), 10, "the end of the agent")
        assert guest.fs_frozen() and fuses(guest)
        wait_thawed(guest)
    finally:
        guest.shell(f"rmdir {service}; umount /sys/fs/cgroup")


def test_a_guest_that_shuts_down_is_thawed_at_once(guest: BareGuest, agent: GuestAgent) -> None:
    lit(agent)
    freeze(guest, agent)
    guest.shell(f"kill -TERM {fuses(guest)[0]}")
    wait_thawed(guest)
    wait_for(lambda: not fuses(guest), 10, "the end of the fuse")


def test_it_burns_where_the_root_file_system_itself_is_frozen(guest: BareGuest) -> None:
    """All that it runs lies on a file system that is frozen, and is no longer in memory."""
    build = r"""
        cd /data && mkdir -p root/bin root/usr/sbin root/usr/bin root/proc root/dev root/sys root/data
        cp /bin/dash root/bin/sh && cp /usr/sbin/fsfreeze root/usr/sbin && cp /bin/busybox root/bin/
        for applet in setsid sleep grep; do ln -sf busybox root/bin/$applet; done
        cp -a /lib /lib64 root/ 2>/dev/null
        mount --bind /data root/data && mount -t proc proc root/proc && mount -t devtmpfs dev root/dev
    """
    words = f"quiesce-fuse-light-{RUN} light {RUN} 4"
    guest.shell(build, timeout=60)
    try:
        for script in SCRIPTS:
            guest.write_file(f"/run/{script.name}", script.read_text())
        guest.shell(f'chroot /data/root /bin/sh -c "$(cat /run/guest.sh)" {words} "$(cat /run/fuse.sh)"')
        guest.freeze_by_hand("/data")
        guest.shell("echo 3 >/proc/sys/vm/drop_caches")
        assert guest.fs_frozen()
        wait_thawed(guest)
    finally:
        guest.shell("umount /data/root/dev /data/root/proc /data/root/data; rm -rf /data/root")


def test_it_thaws_what_lies_on_another_file_system_and_has_an_odd_name(guest: BareGuest, agent: GuestAgent) -> None:
    mount = "'/mnt/a b\\c\td\ne'"
    guest.shell(
        "dd if=/dev/zero of=/data/odd bs=1M count=8 2>/dev/null && "
        "device=$(losetup -f) && losetup $device /data/odd && mke2fs $device >/dev/null && "
        f"mkdir -p {mount} && mount -t ext2 $device {mount}",
        timeout=30,
    )
    try:
        lit(agent, seconds=3)
        assert agent.freeze((), later()) == 3
        assert guest.shell(f"frozen {mount}").startswith("frozen")
        wait_for(lambda: not guest.fs_frozen() and guest.shell(f"frozen {mount}").startswith("thawed"), 30, "the fuse")
    finally:
        guest.shell(f"device=$(losetup -a | cut -d: -f1); umount {mount}; losetup -d $device; rm -rf /mnt/* /data/odd")
