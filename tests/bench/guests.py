"""The guests of the benchmark: put under load, listened to, and flattened after each cut."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.lab import BareGuest, Disk, Guest, LibvirtGuest, Spec, Stall, wait_for
from tests.lab.libvirtd import virsh

T = TypeVar("T")

#: Milliseconds: what the meter notes. An idle guest's flushes are some 5 apart.
THRESHOLD = 10.0
#: Seconds of a quiet guest before and after what is measured.
CALM = 0.4
#: Milliseconds by which the guest's clock may be misread over the serial line.
CLOCK_ERROR = 10.0

#: What a burst leaves to be written, and the disk that has to take it. The memory is large enough for the kernel to
#: keep all of it back until it is asked to write.
BURST_MB = 100
SLOW = Spec(disks=(Disk("ext4", size_mb=512, throttle=20_000_000),), memory_mb=2048)


@dataclass(frozen=True)
class Felt:
    """What the application in the guest felt while something was done."""

    #: On the host's monotonic clock.
    begin: float
    end: float
    #: All that were noted, also before and after.
    stalls: tuple[Stall, ...]
    #: Add this to a time of the host's monotonic clock, in ms, to get the guest's.
    clock_offset: float
    #: Megabytes that the guest had still to write when it began.
    unwritten: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin

    @property
    def longest(self) -> float:
        """Milliseconds of the longest stall meanwhile."""
        return self.longest_within(self.begin, self.end)

    def longest_within(self, begin: float, end: float) -> float:
        """The longest of the stalls that touch a span of the host's monotonic clock; without any, the threshold."""
        first = begin * 1000 + self.clock_offset - CLOCK_ERROR
        last = end * 1000 + self.clock_offset + CLOCK_ERROR
        touching = [stall.ms for stall in self.stalls if stall.end_ms > first and stall.end_ms - stall.ms < last]
        return max(touching, default=THRESHOLD)


def listen(guest: Guest, act: Callable[[], T], burst: bool = False) -> tuple[T, Felt]:
    """Do something while the guest's application runs, after a burst of writes if wanted."""
    guest.start_stallmeter(threshold_ms=THRESHOLD)
    time.sleep(CALM)
    unwritten = guest.dirty(BURST_MB) if burst else guest.unwritten_mb()
    offset = min((_read_clock(guest) for _ in range(3)), key=lambda reading: reading[0])[1]
    begin = time.monotonic()
    result = act()
    end = time.monotonic()
    time.sleep(CALM)
    return result, Felt(begin, end, tuple(guest.stop_stallmeter()), offset, unwritten)


def _read_clock(guest: Guest) -> tuple[float, float]:
    """How long a look at the guest's clock took, and how far that is ahead of the host's; both in ms."""
    before = time.monotonic() * 1000
    shown = guest.clock_ms()
    after = time.monotonic() * 1000
    return after - before, shown - (before + after) / 2


def flatten(guest: Guest) -> None:
    """Commit the guest's overlays into the files that it booted from, and remove them."""
    overlays = [path for path in guest.active_disks() if path not in guest.disks]
    if isinstance(guest, BareGuest):
        _commit_bare(guest)
    elif isinstance(guest, LibvirtGuest):
        _commit_domain(guest)
    assert guest.active_disks() == guest.disks
    for overlay in overlays:
        overlay.unlink()
    guest.shell("sync", timeout=120)


def _commit_domain(guest: LibvirtGuest) -> None:
    for target in virsh("domblklist", guest.name, "--details").splitlines():
        name, path = target.split()[2:4]
        if Path(path) not in guest.disks:
            virsh("blockcommit", guest.name, name, "--active", "--pivot", "--wait", timeout=120)
    for snapshot in virsh("snapshot-list", guest.name, "--name").split():
        virsh("snapshot-delete", guest.name, snapshot, "--metadata")


def _commit_bare(guest: BareGuest) -> None:
    for block in guest.monitor("query-block"):
        top = block["inserted"]["node-name"]
        if Path(block["inserted"]["image"]["filename"]) in guest.disks:
            continue
        guest.monitor("block-commit", {"job-id": "flatten", "device": top})
        wait_for(lambda: guest.monitor("query-block-jobs")[0]["ready"], 60, "the commit to catch up")
        guest.monitor("block-job-complete", {"device": "flatten"})
        wait_for(lambda: not guest.monitor("query-block-jobs"), 60, "the end of the commit")
        guest.monitor("blockdev-del", {"node-name": top})
