"""What was measured, as Markdown that can be read on a terminal too, and whether it is what was aimed at."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from orchestrator.model import PreFlush
from tests.bench.conditions import BARE, BARE_FLOOR, BURST, DOMAIN, PEER, Samples
from tests.bench.contenders import IN_WINDOW, Sample

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
    #: Seconds of `quiesce history`.
    history: Sequence[float]

    def goals(self) -> list[Goal]:
        """What was aimed at. All figures are medians, and ratios of medians."""
        idle = {name: median(_longest(samples)) for name, samples in self.idle.items()}
        peer = median(_longest(self.burst[PEER]))
        seconds = {name: median(sample.seconds for sample in samples) for name, samples in self.idle.items()}
        flushed = [BURST[PreFlush.SYNC], BURST[PreFlush.GENTLE]]
        ours = [sample.own for samples in (*self.idle.values(), *self.burst.values()) for sample in samples]
        return [
            Goal("idle: the stall on bare QEMU, of virsh's", 0.6, idle[BARE] / idle[PEER]),
            Goal("idle: the stall on bare QEMU, of the floor", 1.25, idle[BARE] / idle[BARE_FLOOR]),
            Goal("idle: the stall on libvirt, of virsh's", 0.9, idle[DOMAIN] / idle[PEER]),
            *(
                Goal(
                    f"burst: the stall at the freeze, {name}, of virsh's", 0.1, median(_frozen(self.burst[name])) / peer
                )
                for name in flushed
            ),
            Goal(
                "burst: the longest stall of the whole run, pre_flush = gentle, of virsh's",
                0.4,
                median(_longest(self.burst[BURST[PreFlush.GENTLE]])) / peer,
            ),
            Goal("the window less the agent's and the hypervisor's calls", 1, median(filter(None, ours)), " ms"),
            Goal("the whole `quiesce run` on libvirt, more than virsh", 0.6, seconds[DOMAIN] - seconds[PEER], " s"),
            Goal(f"`quiesce history`, {PAST} runs in the journal", 0.5, median(self.history), " s"),
        ]

    def tables(self) -> str:
        """The document's tables."""
        goals = table(["goal (medians)", "at most", "measured", ""], [goal.row() for goal in self.goals()])
        return "\n\n".join(
            [
                "## Goals",
                goals,
                "## An idle guest",
                self._idle_table(),
                "## After a burst of 100 MB, on a disk of 20 MB/s",
                self._burst_table(),
                "## From the shell",
                f"`quiesce history` with {PAST} runs in the journal: {spread(self.history, 2)} s.",
            ]
        )

    def _idle_table(self) -> str:
        peer, floor = (median(_longest(self.idle[name])) for name in (PEER, BARE_FLOOR))
        head = ["", "longest stall, ms", "of virsh", "of the floor", *_STEPS_HEAD, "command, s"]
        rows = []
        for name, samples in self.idle.items():
            stall = median(_longest(samples))
            ratios = [f"{stall / peer:.2f}", f"{stall / floor:.2f}"]
            rows.append([name, spread(_longest(samples)), *ratios, *_steps(samples), spread(_seconds(samples), 2)])
        return table(head, rows)

    def _burst_table(self) -> str:
        peer = median(_longest(self.burst[PEER]))
        head = ["", "stall at the freeze, ms", "of virsh", "longest stall, ms", "of virsh", *_STEPS_HEAD, "command, s"]
        rows = []
        for name, samples in self.burst.items():
            frozen, longest = _frozen(samples), _longest(samples)
            stalls = [spread(frozen), f"{median(frozen) / peer:.2f}", spread(longest), f"{median(longest) / peer:.2f}"]
            rows.append([name, *stalls, *_steps(samples), spread(_seconds(samples), 2)])
        return table(head, rows)


_STEPS_HEAD = ["window, ms", *IN_WINDOW, "our own"]


def _longest(samples: Iterable[Sample]) -> list[float]:
    return [sample.longest for sample in samples]


def _frozen(samples: Iterable[Sample]) -> list[float]:
    return [sample.frozen for sample in samples]


def _seconds(samples: Iterable[Sample]) -> list[float]:
    return [sample.seconds for sample in samples]


def _steps(samples: Sequence[Sample]) -> list[str]:
    """The median window, and the median of each of its parts."""
    parts: list[Callable[[Sample], float | None]] = [
        lambda sample: sample.window,
        *(lambda sample, step=step: sample.steps.get(step) for step in IN_WINDOW),
        lambda sample: sample.own,
    ]
    shown = []
    for part in parts:
        known = [value for value in map(part, samples) if value is not None]
        shown.append(f"{median(known):.1f}" if known else "")
    return shown


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median of some values, and between what they lie."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns as wide as what stands in them."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, rule, *rows)
    )
