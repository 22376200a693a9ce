"""`python -m tests.bench [--rounds N] [--quick]`: measure, print the figures, and write them to docs/figures.md."""

import argparse
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import backups
from tests.bench.backups import FIGURES
from tests.bench.conditions import Bench
from tests.bench.report import PAST, Results
from tests.matrix.document import part

INTRODUCTION = """\
# Figures

Written by `make bench` on {date}: {rounds} rounds, all contenders in turn in each of them; medians, and between what
the values lie. The host has {cpus} processors and no hardware virtualization, so the guests are emulated; its load
(1 minute) was {before:.1f} before and {after:.1f} after. {versions}.

What counts is what an application in the guest feels: a program appends and flushes in a loop, and notes each gap
between two flushes. The *longest stall* is the longest gap that touches the command's time, preparation and flush
included; the *stall at the freeze* is the longest that touches the window, which for virsh and the floor is taken to
be all of the command. *virsh* is `virsh snapshot-create-as --quiesce --disk-only`. The *floor* freezes and thaws with
nothing between. After each cut the overlays are committed, so that all chains are equally long. *our own* is what of
the window is neither the agent's nor the hypervisor's: the window less its four calls.
"""


def main() -> int:
    """Measure, and return 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="what a guest's application feels")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each contender (default 10)")
    parser.add_argument("--quick", action="store_true", help="2 rounds, and nothing is written to docs/figures.md")
    asked = parser.parse_args()
    rounds = 2 if asked.quick else asked.rounds
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="quiesce-bench-") as folder:
        bench = Bench(Path(folder), rounds, say)
        history = bench.history(PAST)
        results = Results(bench.idle(), bench.burst(), history)
    copying, copying_met = backups.measure(2 if asked.quick else backups.ROUNDS, say)
    introduction = INTRODUCTION.format(
        date=datetime.now(UTC).date(),
        rounds=rounds,
        cpus=os.cpu_count(),
        before=before,
        after=os.getloadavg()[0],
        versions=versions(),
    )
    document = f"{introduction}\n{results.tables()}\n\n{part(backups.PART, 'python -m tests.bench.backups', copying)}\n"
    print(document)
    if not asked.quick:
        FIGURES.write_text(document)
    return 0 if copying_met and all(goal.measured <= goal.limit for goal in results.goals()) else 1


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"--- {text}", flush=True)


def versions() -> str:
    """What was measured with what."""
    qemu = subprocess.check_output(["qemu-system-x86_64", "--version"], text=True).split()[3]
    libvirt = subprocess.check_output(["virsh", "--version"], text=True).strip()
    return f"QEMU {qemu}, libvirt {libvirt}, Python {sys.version.split()[0]}"


if __name__ == "__main__":
    sys.exit(main())
