"""The flush in a real guest: it writes back, its application goes on, and whoever dies, every setting is restored."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import orchestrator.flush
from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import Deadline, Stop, SystemClock, Task
from orchestrator.errors import Rejected
from orchestrator.flush import write_back
from orchestrator.model import PreFlush
from tests.fakes.deadlines import later
from tests.lab import PATIENCE, BareGuest, Disk, Spec, wait_for
from tests.lab.sharing import Shared

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: Bytes per second of the disk, and megabytes of the burst: two and a half seconds of writing back.
SLOW, BURST_MB = 20_000_000, 50
LITTLE_KB = 2048
SCRIPT = Path(orchestrator.flush.__file__).with_name("guest.sh")
SETTINGS = "cd /sys/block/vda/queue && cat iosched/async_depth nr_requests max_sectors_kb /proc/sys/vm/dirty_*"
MARK = "/proc/sys/vm/dirty_background_bytes"
PROCESSES = "grep -l [q]uiesce-flush /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3 | sort -n; :"


@pytest.fixture(scope="module")
def shared(lab: None) -> Iterator[Shared[BareGuest]]:
    shared = Shared(lambda: BareGuest(Spec(disks=(Disk("ext4", size_mb=512, throttle=SLOW),), memory_mb=1024)))
    yield shared
    shared.stop()


@pytest.fixture
def guest(shared: Shared[BareGuest]) -> BareGuest:
    return shared.at_rest()


@pytest.fixture
def agent(guest: BareGuest) -> Iterator[GuestAgent]:
    with closing(client(guest)) as agent:
        yield agent


@pytest.fixture
def settings(guest: BareGuest) -> str:
    """The guest's settings before the test."""
    return guest.shell(SETTINGS)


def client(guest: BareGuest) -> GuestAgent:
    return GuestAgent(unix_channel(str(guest.agent_socket)))


@contextmanager
def flushing(agent: GuestAgent, stop: Stop) -> Iterator[Task[Mapping[str, Any]]]:
    """A flush on a thread of its own, which ends with the `with`."""
    task = Task(SystemClock(), "flush", lambda: write_back(agent, PreFlush.GENTLE, later(), stop))
    try:
        yield task
    finally:
        stop.request()
        task.join()


def flush_processes(guest: BareGuest) -> list[int]:
    return [int(pid) for pid in guest.shell(PROCESSES).split()]


def await_lowered(guest: BareGuest, settings: str) -> None:
    """Wait until the flush is in its middle: its three processes are there, and every setting is lowered."""
    wait_for(lambda: len(flush_processes(guest)) >= 3 and guest.shell(f"cat {MARK}") != "0\n", PATIENCE, "the flush")
    assert guest.shell(SETTINGS) != settings


def test_gentle_writes_back_while_the_application_goes_on(guest: BareGuest, agent: GuestAgent, settings: str) -> None:
    guest.start_stallmeter()
    guest.dirty(BURST_MB)
    began = guest.clock_ms()
    figures = write_back(agent, PreFlush.GENTLE, later(), Stop())
    assert figures["dirty_before_kb"] > BURST_MB * 900
    assert figures["dirty_after_kb"] <= LITTLE_KB
    assert guest.unwritten_mb() * 1024 <= 2 * LITTLE_KB
    assert guest.shell(SETTINGS) == settings
    stalls = [stall.ms for stall in guest.stop_stallmeter() if stall.end_ms > began]
    assert max(stalls, default=0) < BURST_MB * 1e6 / SLOW * 1000 * 0.6, "the burst was not all in front of the meter"


def test_sync_writes_back(guest: BareGuest, agent: GuestAgent) -> None:
    guest.dirty(BURST_MB // 3)
    figures = write_back(agent, PreFlush.SYNC, later(), Stop())
    assert figures["dirty_after_kb"] <= LITTLE_KB < figures["dirty_before_kb"]


def shell(processes: list[int]) -> int:
    return processes[0]


def pacer(processes: list[int]) -> int:
    return processes[1]


def keeper(processes: list[int]) -> int:
    return processes[2]


@pytest.mark.parametrize("victim", [shell, pacer, keeper])
def test_whichever_process_is_killed_the_settings_are_restored(
    guest: BareGuest, agent: GuestAgent, settings: str, victim: Callable[[list[int]], int]
) -> None:
    guest.dirty(BURST_MB)
    with flushing(agent, Stop()):
        await_lowered(guest, settings)
        guest.shell(f"kill -9 {victim(flush_processes(guest))}")
        wait_for(lambda: not flush_processes(guest), PATIENCE, "the end of the flush, long before all is written")
    assert guest.shell(SETTINGS) == settings


def test_without_agent_and_caller_it_goes_on_and_the_next_run_waits_for_it(guest: BareGuest, settings: str) -> None:
    guest.dirty(BURST_MB + 30)
    with closing(client(guest)) as first:
        first.start("/bin/sh", ["-c", SCRIPT.read_text(), "quiesce-flush", "gentle", "60"], later())
    await_lowered(guest, settings)
    guest.kill_agent()
    guest.start_agent()
    with closing(client(guest)) as second:
        figures = write_back(second, PreFlush.GENTLE, later(), Stop())
    assert figures["dirty_after_kb"] <= LITTLE_KB < figures["dirty_before_kb"], "the first one was under way"
    assert not flush_processes(guest)
    assert guest.shell(SETTINGS) == settings, "nobody took the lowered settings for the guest's own"


def test_a_flush_that_left_its_mark_is_not_taken_for_the_guests_own_setting(
    guest: BareGuest, agent: GuestAgent, settings: str
) -> None:
    guest.dirty(BURST_MB)
    guest.shell(f"echo 1048573 >{MARK}")
    with pytest.raises(Rejected, match="another flush"):
        write_back(agent, PreFlush.GENTLE, Deadline.after(SystemClock(), 7), Stop())
    guest.shell("echo 10 >/proc/sys/vm/dirty_background_ratio")
    assert guest.shell(SETTINGS) == settings


def test_a_stop_ends_the_flush_and_restores_the_settings(guest: BareGuest, agent: GuestAgent, settings: str) -> None:
    guest.dirty(BURST_MB)
    with flushing(agent, stop := Stop()) as flush:
        await_lowered(guest, settings)
        stop.request()
        assert flush.wait(Deadline.after(SystemClock(), 2))
    assert flush.result()["stopped"] is True
    wait_for(lambda: not flush_processes(guest), PATIENCE, "the end of the flush, long before all is written")
    assert guest.shell(SETTINGS) == settings
