"""`python -m tests.bench.guard [--guests]`: how soon the guard is there, how much memory it keeps, and, on the lab's
guests, how soon an application writes again when the command is killed, or hangs, in its window.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.guard.leases import ProcessGuard
from orchestrator.model import Machine
from tests.acceptance.gate import Gate
from tests.acceptance.product import Product
from tests.lab import BareGuest, Guest, LibvirtGuest, Stall, wait_for

UNIX = Machine("edge", agent="/nowhere/qga.sock")
LIBVIRT = Machine("db", hypervisor="qemu:///system", domain="db")
#: Goals: milliseconds from the decision to start one to its first answer, and resident megabytes.
START_MS, RESIDENT_MB = 100.0, 30.0
#: The hold limit of a command that hangs, in seconds.
HOLD_S = 2


def main() -> int:
    """Measure, and return 0 when both goals are met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.guard")
    parser.add_argument("--rounds", type=int, default=20, help="guards that are started (default 20)")
    parser.add_argument("--guests", action="store_true", help="boot two guests and kill the command in its window")
    asked = parser.parse_args()
    rounds = asked.rounds
    print(f"load (1 minute) {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors; {rounds} guards each")
    start, small = measure([UNIX], rounds)
    both_start, large = measure([UNIX, LIBVIRT], rounds)
    again = 1000 * answer()
    print(f"unix socket:             start {start}, resident {small:.1f} MB")
    print(f"unix socket and libvirt: start {both_start}, resident {large:.1f} MB")
    print(f"one more machine, when it runs: {again:.2f} ms")
    if asked.guests:
        for guest in (BareGuest(), LibvirtGuest()):
            with guest:
                print(f"{type(guest).__name__}: {after(guest, rounds)}", flush=True)
    return 0 if statistics.median(start.values) <= START_MS and large <= RESIDENT_MB else 1


def after(guest: Guest, rounds: int) -> str:
    """How long an application in the guest waits after SIGKILL in the window, and all in all when the command hangs."""
    killed: list[float] = []
    stalled: list[float] = []
    for number in range(2 * rounds):
        hangs = number % 2 == 1
        with tempfile.TemporaryDirectory(prefix="quiesce-bench-") as folder:
            product = Product(Path(folder))
            with Gate(Path(folder)) as gate, closing(product):
                product.machine("vm", guest)
                product.job("vm", cut=gate.cut, hold_limit=f"{HOLD_S}s" if hangs else "60s")
                guest.start_stallmeter()
                running = product.start("run", "job")
                gate.wait_entered()
                before = guest.clock_ms()
                running.send(signal.SIGSTOP if hangs else signal.SIGKILL)
                stall = wait_for(partial(stall_after, guest, before), 30, "a write")
                if hangs:
                    stalled.append(stall.ms)
                else:
                    killed.append(stall.end_ms - before)
                running.wait()
                guest.stop_stallmeter()
    return f"after SIGKILL {Times(killed)}; stalled by SIGSTOP with a hold limit of {HOLD_S} s {Times(stalled)}"


def stall_after(guest: Guest, moment_ms: float) -> Stall | None:
    """The stall that ended after that moment of the guest's clock, if it has ended."""
    return next((stall for stall in guest.stalls() if stall.end_ms > moment_ms), None)


class Times:
    """Durations, in milliseconds."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = values

    def __str__(self) -> str:
        return f"{statistics.median(self.values):.0f} ms ({min(self.values):.0f}-{max(self.values):.0f})"


def measure(machines: Sequence[Machine], rounds: int) -> tuple[Times, float]:
    """How long it takes from nothing until the guard is armed for `machines`, and its resident size in MB (median)."""
    times, sizes = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder, closing(ProcessGuard(Path(folder), SystemClock())) as guard:
            began = time.perf_counter()
            leases = [guard.arm("run", machine) for machine in machines]
            times.append((time.perf_counter() - began) * 1000)
            sizes.append(resident(guard.pid))
            for lease in leases:
                lease.release()
    return Times(times), statistics.median(sizes)


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
