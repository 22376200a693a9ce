"""A target's steps as bars on two scales: the whole run in seconds, and in it the window in milliseconds.

Pure: steps in, geometry out. All places are parts of a band's length, so that a drawing may have any width.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.model import Action, Outcome, Run, Step
from orchestrator.web.page import figures

_PHASES = {
    Action.FREEZE: "freeze",
    Action.CUT: "cut",
    Action.THAW: "thaw",
    Action.CONFIRM: "thaw",
    Action.COPY: "copy",
    Action.PUBLISH: "copy",
    Action.EXAMINE: "copy",
}
#: The rows of each band, from top to bottom. What is not of the window is preparation before it, and after it the rest.
_RUN, _WINDOW = ("prepare", "window", "copy", "after"), ("freeze", "hold", "cut", "thaw")
#: Seconds by which a step's two clocks may differ: more, and it was made on another host or after a restart.
_DRIFT = 2.0
#: How long after a run's end a step still belongs to its drawing: what retention removes weeks later does not.
_SOON = timedelta(minutes=15)
_TICKS = 5


@dataclass(frozen=True)
class Bar:
    """Something that took time. All in seconds from the first step on."""

    phase: str
    begin: float
    end: float
    outcome: Outcome = Outcome.DONE


@dataclass(frozen=True)
class Row:
    """The bars of one phase in a band."""

    phase: str
    bars: Sequence[Bar]

    @property
    def took_ms(self) -> float:
        """How long all of it took, in milliseconds."""
        return sum(bar.end - bar.begin for bar in self.bars) * 1000


@dataclass(frozen=True)
class Band:
    """Rows on one scale, from `begin` to `end`."""

    begin: float
    end: float
    rows: Sequence[Row]

    def percent(self, at: float) -> float:
        """Where a moment lies on the band, in percent of its length."""
        return round(100 * (at - self.begin) / (self.end - self.begin), 3)

    @property
    def ticks(self) -> Sequence[tuple[float, str]]:
        """Round times, and where they lie in percent."""
        length = self.end - self.begin
        step = round_up(length / _TICKS)
        times = [number * step for number in range(math.floor(length / step) + 1)]
        return [(self.percent(self.begin + time), figures.round_duration(time * 1000)) for time in times]


@dataclass(frozen=True)
class Timeline:
    """What is drawn of one target."""

    whole: Band
    #: None when nothing was frozen.
    window: Band | None


def timeline(run: Run, machine: str) -> Timeline | None:
    """The drawing of one machine's steps in a run; None when it has none that took time."""
    last = run.finished_at and run.finished_at + _SOON
    bars = list(_bars([step for step in run.steps_of(machine) if last is None or step.at <= last]))
    if not bars:
        return None
    inner = [bar for bar in bars if bar.phase in _WINDOW]
    window = _window(inner) if any(bar.phase == "freeze" for bar in inner) else None
    outer = list(_outside(bars, window))
    return Timeline(_band(_RUN, outer), window)


def _window(bars: Sequence[Bar]) -> Band:
    """The window: from the freeze's begin to the last thaw's end, with the hold between the two answers."""
    freeze = next(bar for bar in bars if bar.phase == "freeze")
    thaws = [bar for bar in bars if bar.phase == "thaw" and bar.outcome is Outcome.DONE]
    hold = [Bar("hold", freeze.end, max(freeze.end, thaws[0].end))] if thaws else []
    return _band(_WINDOW, [*bars, *hold])


def _outside(bars: Iterable[Bar], window: Band | None) -> Iterator[Bar]:
    for bar in bars:
        if bar.phase not in _WINDOW:
            late = window is not None and bar.phase == "prepare" and bar.begin >= window.begin
            yield Bar("after", bar.begin, bar.end, bar.outcome) if late else bar
        elif window is None:
            yield Bar("after", bar.begin, bar.end, bar.outcome)
    if window is not None:
        yield Bar("window", window.begin, window.end)


def _band(phases: Sequence[str], bars: Sequence[Bar]) -> Band:
    begin, end = min(bar.begin for bar in bars), max(bar.end for bar in bars)
    rows = [Row(phase, [bar for bar in bars if bar.phase == phase]) for phase in phases]
    return Band(begin, max(end, begin + 1e-6), [row for row in rows if row.bars])


def _bars(steps: Sequence[Step]) -> Iterator[Bar]:
    """Every step that took time, on one clock: the monotonic one of the first step, as far as it can be compared."""
    timed = [step for step in steps if step.duration_ms is not None]
    if not timed:
        return
    origin = min(_began_at(step) for step in timed)
    first = min(timed, key=_began_at)
    confirmed = False
    for step in timed:
        phase = _PHASES.get(step.action, "prepare")
        if step.action is Action.CONFIRM:  # after the first one it is only watched that the guest stays thawed
            phase, confirmed = "after" if confirmed else phase, confirmed or step.outcome is Outcome.DONE
        elif step.action is Action.THAW:
            confirmed = False
        end = step.monotonic - first.began
        by_wall = (step.at - origin).total_seconds()
        if abs(end - by_wall) > _DRIFT:
            end = by_wall
        took = (step.duration_ms or 0.0) / 1000
        yield Bar(phase, end - took, end, step.outcome)


def _began_at(step: Step) -> datetime:
    return step.at - timedelta(milliseconds=step.duration_ms or 0.0)


def round_up(value: float) -> float:
    """The next of 1, 2 and 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * 0.999)
