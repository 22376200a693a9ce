"""Which snapshots and backups of one job on one machine are kept, and why. Pure: points in time in, decisions out.

The rules are those of restic's `forget`: each counts for itself, so that a point may be kept for several reasons.
Where borg differs, and which way was taken: docs/decisions/0013.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

from orchestrator.model import Retention

NO_RULE = "no rule keeps it"


@dataclass(frozen=True)
class Point:
    """A point in time to which a machine can be brought back."""

    run_id: str
    at: datetime
    #: Whether it is what its job had asked for. One that is not never takes the place of one that is.
    good: bool = True
    #: The run whose point this one stands on, and cannot be restored without.
    parent: str | None = None


@dataclass(frozen=True)
class Decision:
    """Whether a point is kept, and every reason for it."""

    point: Point
    keep: bool
    reasons: tuple[str, ...]


@dataclass
class _Reasons:
    """The reasons for each point, in the order in which they were found."""

    of: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, point: Point, reason: str) -> None:
        if reason not in self.of[point.run_id]:
            self.of[point.run_id].append(reason)


def decide(
    points: Sequence[Point],
    retention: Retention,
    now: datetime,
    zone: tzinfo | None = None,
    others: Sequence[Point] = (),
) -> tuple[Decision, ...]:
    """A decision on each of the points, oldest first. Hours, days, weeks, months and years are those of `zone`; None
    is the host's.

    The newest good point is kept whatever the rules say, and so is everything that a kept point stands on, or one of
    `others`, which no rule here is about.
    """
    oldest_first = sorted(points, key=lambda point: (point.at, point.run_id))
    reasons = _Reasons()
    for name, count, period in _rules(retention):
        _fill(oldest_first[::-1], name, count, period, zone, reasons)
    if retention.keep_last:
        for point in oldest_first[-retention.keep_last :]:
            reasons.add(point, "last")
    if retention.keep_within is not None and oldest_first:
        # From the newest, so that a machine whose runs have stopped loses none; but not from one that is yet to come.
        since = min(oldest_first[-1].at, now) - timedelta(seconds=retention.keep_within)
        for point in oldest_first:
            if point.at >= since:
                reasons.add(point, "within")
    for point in _best(oldest_first)[-1:]:
        reasons.add(point, "last good" if point.good else "last, and none is good")
    _keep_parents(oldest_first, others, reasons)
    return tuple(
        Decision(point, point.run_id in reasons.of, tuple(reasons.of.get(point.run_id, [NO_RULE])))
        for point in oldest_first
    )


def removal_order(points: Sequence[Point]) -> list[Point]:
    """The points so that nothing is removed before what stands on it; otherwise the oldest first."""
    children = defaultdict(list)
    for point in sorted(points, key=lambda point: (point.at, point.run_id)):
        children[point.parent].append(point)
    known = {point.run_id for point in points}

    def leaves_first(point: Point) -> Iterator[Point]:
        for child in children[point.run_id]:
            yield from leaves_first(child)
        yield point

    roots = [point for point in points if point.parent not in known]
    roots.sort(key=lambda point: (point.at, point.run_id))
    return [point for root in roots for point in leaves_first(root)]


def _rules(retention: Retention) -> Iterator[tuple[str, int, Callable[[datetime], tuple[Hashable, str]]]]:
    """The rules that count periods: for each its name, its count, and what tells a time's period and names it."""
    # An hour that a change of the clock repeats is two hours.
    yield "hourly", retention.keep_hourly, lambda at: ((at.date(), at.hour, at.utcoffset()), f"{at:%Y-%m-%d %H:00}")
    yield "daily", retention.keep_daily, lambda at: (at.date(), f"{at:%Y-%m-%d}")
    yield "weekly", retention.keep_weekly, lambda at: (at.isocalendar()[:2], f"{at:%G-W%V}")
    yield "monthly", retention.keep_monthly, lambda at: ((at.year, at.month), f"{at:%Y-%m}")
    yield "yearly", retention.keep_yearly, lambda at: (at.year, f"{at:%Y}")


def _fill(
    newest_first: Sequence[Point],
    name: str,
    count: int,
    period_of: Callable[[datetime], tuple[Hashable, str]],
    zone: tzinfo | None,
    reasons: _Reasons,
) -> None:
    """Keep one point, the best, of each of the `count` newest periods that have any."""
    if not count:
        return
    periods: dict[Hashable, tuple[str, list[Point]]] = {}
    for point in newest_first:
        key, label = period_of(point.at.astimezone(zone))
        periods.setdefault(key, (label, []))[1].append(point)
    for label, points in list(periods.values())[:count]:
        reasons.add(_best(points)[0], f"{name} {label}")
    if len(periods) < count:
        # A history that is younger than the rule keeps its beginning, which can grow old enough to fill it.
        for point in _best(newest_first)[-1:]:
            reasons.add(point, f"oldest for {name}")


def _best(points: Sequence[Point]) -> Sequence[Point]:
    """The good ones, or all when there are none, in their order."""
    return [point for point in points if point.good] or points


def _keep_parents(points: Sequence[Point], others: Sequence[Point], reasons: _Reasons) -> None:
    """Keep whatever a kept point stands on."""
    by_run = {point.run_id: point for point in points}
    kept = [*others, *(point for point in points if point.run_id in reasons.of)]
    while kept:
        child = kept.pop()
        parent = by_run.get(child.parent or "")
        if parent is not None:
            if parent.run_id not in reasons.of:
                kept.append(parent)
            reasons.add(parent, f"parent of {child.run_id}")
