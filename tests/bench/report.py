"""What was measured, as Markdown that can be read on a terminal too, and whether it is what was aimed at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from orchestrator.model import PreFlush
from tests.bench.conditions import BARE, BARE_FLOOR, BURST, DOMAIN, PEER, Duration, Samples
from tests.bench.contenders import IN_WINDOW, Sample
from tests.tables import table

#: How many runs the journal of `quiesce history` holds.
PAST = 1000


@dataclass(frozen=True)
class Goal:
    """A figure and the most that it may be."""

    what: str
    limit: float
    measured: float
    unit: str = ""

    def row(self) -> list[str]:
        met = "met" if self.measured <= self.limit else "**missed**"
        return [self.what, f"{self.limit:g}{self.unit}", f"{self.measured:.2f}{self.unit}", met]


@dataclass(frozen=True)
class Results:
    """Everything that one run of the benchmark has measured."""

    idle: Samples
    burst: Samples
    #: Of `quiesce history`.
    history: Sequence[Duration]

    def goals(self) -> list[Goal]:
        """What was aimed at. All figures are medians, and ratios of medians."""
        idle = {name: median(_frozen(samples)) for name, samples in self.idle.items()}
        peer = median(_longest(self.burst[PEER]))
        seconds = {name: median(sample.seconds for sample in samples) for name, samples in self.idle.items()}
        sync, gentle = self.burst[BURST[PreFlush.SYNC]], self.burst[BURST[PreFlush.GENTLE]]
        ours = [
            s.own for samples in (*self.idle.values(), *self.burst.values()) for s in samples if s.window is not None
        ]
        return [
            Goal("idle: the stall on bare QEMU, of virsh's", 0.6, idle[BARE] / idle[PEER]),
            Goal("idle: the stall on bare QEMU, of the floor", 1.25, idle[BARE] / idle[BARE_FLOOR]),
            Goal("idle: the stall on libvirt, of virsh's", 0.9, idle[DOMAIN] / idle[PEER]),
            Goal("burst: the stall at the freeze, pre_flush = sync, of virsh's", 0.1, median(_frozen(sync)) / peer),
            Goal("burst: the stall at the freeze, pre_flush = gentle, of virsh's", 0.1, median(_frozen(gentle)) / peer),
            Goal("burst: the longest stall, pre_flush = gentle, of virsh's", 0.4, median(_longest(gentle)) / peer),
            Goal("the window less the agent's and the hypervisor's calls", 1, median(ours), " ms"),
            Goal("the whole `quiesce run` on libvirt, more than virsh", 0.6, seconds[DOMAIN] - seconds[PEER], " s"),
            Goal(
                f"`quiesce history`, {PAST} runs in the journal",
                0.5,
                median(taken.clock for taken in self.history),
                " s",
            ),
        ]

    def tables(self) -> str:
        """The document's tables."""
        goals = table(["goal (medians)", "at most", "measured", ""], [goal.row() for goal in self.goals()])
        return "\n\n".join(
            [
                "## Goals",
                goals,
                "## An idle guest",
                _stalls(self.idle, {"of virsh": PEER, "of the floor": BARE_FLOOR}),
                "## After a burst of 100 MB, on a disk of 20 MB/s",
                _stalls(self.burst, {"of virsh": PEER}),
                "## The windows",
                _windows(self.idle, self.burst),
                "## From the shell",
                f"`quiesce history` with {PAST} runs in the journal: "
                f"{spread([taken.clock for taken in self.history], 2)} s by the clock, "
                f"{spread([taken.processor for taken in self.history], 2)} s of processor time.",
            ]
        )


def _stalls(condition: Samples, measures: Mapping[str, str]) -> str:
    """How long each contender's application stood still, beside some of the contenders."""
    head = ["", "stall at the freeze, ms", *measures, "longest stall, ms", *measures, "unwritten, MB", "command, s"]
    rows = []
    for name, samples in condition.items():
        row = [name]
        for stalls in (_frozen, _longest):
            ratios = (median(stalls(samples)) / median(stalls(condition[measure])) for measure in measures.values())
            row += [spread(stalls(samples)), *(f"{ratio:.2f}" for ratio in ratios)]
        row += [f"{median(sample.unwritten for sample in samples):.0f}", spread([s.seconds for s in samples], 2)]
        rows.append(row)
    return table(head, rows)


def _windows(*conditions: Samples) -> str:
    """What the windows consisted of, by the journal."""
    rows = []
    for condition in conditions:
        for name, samples in condition.items():
            windows = [(sample.window, sample.own) for sample in samples if sample.window is not None]
            if windows:
                steps = [spread([sample.steps[step] for sample in samples], 1) for step in IN_WINDOW]
                whole, own = zip(*windows, strict=True)
                rows.append([name, spread(whole, 1), *steps, spread(own, 1)])
    return table(["ms", "window", *IN_WINDOW, "our own"], rows)


def _longest(samples: Iterable[Sample]) -> list[float]:
    return [sample.longest for sample in samples]


def _frozen(samples: Iterable[Sample]) -> list[float]:
    return [sample.frozen for sample in samples]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median of some values, and between what they lie."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"
