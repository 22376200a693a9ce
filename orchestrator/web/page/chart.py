"""A machine's windows as bars, the oldest left. Pure: all places are in percent of the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.answers import Window
from orchestrator.web.page import figures
from orchestrator.web.page.timeline import round_up

#: Fewer windows leave the rest of the drawing empty: one bar is no wall.
_FEWEST = 24
_TICKS = 4


@dataclass(frozen=True)
class Bar:
    """One window, and in it the hold."""

    window: Window
    left: float
    width: float
    top: float
    #: None without a hold.
    hold_top: float | None


@dataclass(frozen=True)
class Chart:
    """The bars, and the lines behind them with what they stand for."""

    bars: Sequence[Bar]
    ticks: Sequence[tuple[float, str]]


def chart(windows: Sequence[Window]) -> Chart | None:
    """The drawing of these windows; None when there are none."""
    if not windows:
        return None
    step = round_up(max(max(window.window_ms for window in windows), 1.0) / _TICKS)
    highest = _TICKS * step
    slot = 100 / max(len(windows), _FEWEST)

    def top(milliseconds: float) -> float:
        return round(100 - 100 * milliseconds / highest, 2)

    bars = [
        Bar(
            window,
            left=round(number * slot + slot * 0.1, 3),
            width=round(slot * 0.8, 3),
            top=top(window.window_ms),
            hold_top=None if window.hold_ms is None else top(window.hold_ms),
        )
        for number, window in enumerate(windows)
    ]
    return Chart(bars, [(top(number * step), figures.round_duration(number * step)) for number in range(1, _TICKS + 1)])
