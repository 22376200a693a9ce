"""`python -m tests.bench.backups [--rounds N]`: a full backup beside what else copies a disk, and what an incremental
one stores; written into its part of docs/figures.md.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from tests.acceptance.product import Product
from tests.bench.copies import (
    CHANGED_MB,
    DATA_MB,
    DISK_MB,
    Sample,
    convert,
    copied_guest,
    incremental,
    peer,
    quiesce,
    turn,
)
from tests.bench.report import Goal, spread
from tests.lab.places import CHECKOUT
from tests.matrix.document import write
from tests.tables import table

FIGURES = CHECKOUT / "docs" / "figures.md"
PART = "backups"
ROUNDS = 7

OURS, PEER, CONVERT = "quiesce run", "virsh backup-begin", "qemu-img convert"

INTRODUCTION = """\
## Full backups

Written on {date}, at a load (1 minute) of {before:.1f} before and {after:.1f} after: {rounds} rounds, all in turn in
each of them. A disk of {disk} MB under libvirt holds {data} MB that cannot be compressed; each copies it into a qcow2
file of the same file system. *quiesce run* is the whole command: it also freezes, and sums what it stores. *virsh
backup-begin*, in push mode, does neither, and is waited for until libvirt's job has ended, when QEMU has flushed the
file. *qemu-img convert* of the same image is no backup, because the guest writes on meanwhile, and flushes nothing. So
what compares is *until flushed*, in which a flush of the file and its folder counts for who made none. The stalls are
those of an application in the guest that flushes all the time; *where it begins* is the longest one that touches the
window, or for virsh the command that begins the job. *processor* is what the command's own processes used.
"""


@dataclass(frozen=True)
class Backups:
    """Everything that one run of this benchmark has measured."""

    copies: Mapping[str, Sequence[Sample]]
    #: Megabytes that an incremental backup stored.
    stored_mb: float

    def goals(self) -> list[Goal]:
        """What was aimed at."""
        durable = {name: median(sample.durable for sample in samples) for name, samples in self.copies.items()}
        peak = max(sample.copy.peak_mb for sample in self.copies[OURS])
        return [
            Goal("a full backup, of virsh's time until flushed", 1.1, durable[OURS] / durable[PEER]),
            Goal("a full backup, of qemu-img's time until flushed", 1.1, durable[OURS] / durable[CONVERT]),
            Goal("the most memory of our process", 100, peak, " MB"),
            Goal(f"stored by an incremental backup after {CHANGED_MB} MB of changes", 15, self.stored_mb, " MB"),
        ]

    def tables(self) -> str:
        """The tables of this part."""
        head = ["", "ended, s", "until flushed, s", "processor, s", "stall where it begins, ms", "longest stall, ms"]
        rows = [
            [
                name,
                spread([sample.ended for sample in samples], 2),
                spread([sample.durable for sample in samples], 2),
                spread([sample.processor for sample in samples], 2),
                spread([sample.stall_begin for sample in samples]) if name != CONVERT else "-",
                spread([sample.stall_longest for sample in samples]),
            ]
            for name, samples in self.copies.items()
        ]
        steps = ["before the freeze", "window", "copy", "publish", "the rest"]
        parts = [sample.parts() for sample in self.copies[OURS]]
        spent = [[name, *(spread(values, 2) for values in zip(*parts, strict=True))] for name in ("seconds",)]
        goals = table(["goal (medians)", "at most", "measured", ""], [goal.row() for goal in self.goals()])
        return "\n\n".join([goals, table(head, rows), f"What `{OURS}` spends it on:", table(["", *steps], spent)])


def measure(rounds: int, say: Callable[[str], None]) -> tuple[str, bool]:
    """Measure; return this part of the document, and whether every goal is met."""
    before = os.getloadavg()[0]
    with copied_guest() as (guest, folder), tempfile.TemporaryDirectory(prefix="quiesce-bench-") as own:
        product = Product(Path(own))
        product.machine("vm", guest)
        contenders = {OURS: partial(quiesce, product), PEER: partial(peer, guest), CONVERT: partial(convert, guest)}
        copies: dict[str, list[Sample]] = {name: [] for name in contenders}
        for number in range(rounds):
            for slot, (name, act) in enumerate(contenders.items()):
                sample = turn(guest, act, folder / f"{number}-{slot}")
                copies[name].append(sample)
                say(f"{number + 1}/{rounds} {name}: {sample.durable:.2f} s")
        backups = Backups(copies, incremental(product, guest, folder / "incremental"))
    introduction = INTRODUCTION.format(
        date=datetime.now(UTC).date(),
        before=before,
        after=os.getloadavg()[0],
        rounds=rounds,
        disk=DISK_MB,
        data=DATA_MB,
    )
    return f"{introduction}\n{backups.tables()}", all(goal.measured <= goal.limit for goal in backups.goals())


def main() -> int:
    """Measure, and return 0 when every goal is met."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backups", description="what a full backup takes")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each contender (default {ROUNDS})")
    text, met = measure(parser.parse_args().rounds, lambda said: print(f"--- {said}", flush=True))
    print(text)
    write(PART, text, FIGURES)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
