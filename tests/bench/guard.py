"""`python -m tests.bench.guard`: how long the guard takes to be there, and how much memory it keeps."""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.guard.leases import ProcessGuard
from orchestrator.model import Machine

UNIX = Machine("edge", agent="/nowhere/qga.sock")
LIBVIRT = Machine("db", hypervisor="qemu:///system", domain="db")
#: Goals: milliseconds from the decision to start one to its first answer, and resident megabytes.
START_MS, RESIDENT_MB = 100.0, 30.0


def main() -> int:
    """Measure, and return 0 when both goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guard")
    parser.add_argument("--rounds", type=int, default=20, help="guards that are started (default 20)")
    rounds = parser.parse_args().rounds
    print(f"load (1 minute) {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors; {rounds} guards each")
    start, small = measure([UNIX], rounds)
    both_start, large = measure([UNIX, LIBVIRT], rounds)
    again = 1000 * answer()
    print(f"unix socket:             start {start}, resident {small:.1f} MB")
    print(f"unix socket and libvirt: start {both_start}, resident {large:.1f} MB")
    print(f"one more machine, when it runs: {again:.2f} ms")
    return 0 if statistics.median(start.values) <= START_MS and large <= RESIDENT_MB else 1


class Times:
    """Durations, in milliseconds."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = values

    def __str__(self) -> str:
        return f"{statistics.median(self.values):.0f} ms ({min(self.values):.0f}-{max(self.values):.0f})"


def measure(machines: Sequence[Machine], rounds: int) -> tuple[Times, float]:
    """How long it takes from nothing until the guard is armed for `machines`, and its largest resident size in MB."""
    times, sizes = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, closing(ProcessGuard(Path(folder), SystemClock())) as guard:
            began = time.perf_counter()
            leases = [guard.arm("run", machine) for machine in machines]
            times.append((time.perf_counter() - began) * 1000)
            sizes.append(resident(guard.pid))
            for lease in leases:
                lease.release()
    return Times(times), max(sizes)


def answer() -> float:
    """Seconds for a guard that runs to be armed for one more machine; median of many."""
    times = []
    with tempfile.TemporaryDirectory() as folder, closing(ProcessGuard(Path(folder), SystemClock())) as guard:
        guard.arm("first", UNIX).release()
        for number in range(200):
            began = time.perf_counter()
            lease = guard.arm(str(number), UNIX)
            times.append(time.perf_counter() - began)
            lease.release()
    return statistics.median(times)


def resident(pid: int | None) -> float:
    """The resident size of a process, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    sys.exit(main())
