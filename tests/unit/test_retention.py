"""Which points in time are kept, and why."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import Retention
from orchestrator.retention import NO_RULE, Decision, Point, decide, removal_order

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DAY = timedelta(days=1)

counts = st.integers(0, 5)
retentions = st.builds(
    Retention, counts, counts, counts, counts, counts, counts, st.none() | st.floats(1, 40 * 86400, allow_nan=False)
)


@st.composite
def histories(draw: st.DrawFn) -> list[Point]:
    """Points of a job in an order of no meaning, some on others, some not good. Times may repeat."""
    minutes = draw(st.lists(st.integers(0, 60 * 24 * 400), max_size=30))
    points: list[Point] = []
    for number, minute in enumerate(sorted(minutes)):
        parent = draw(st.none() | st.sampled_from([point.run_id for point in points])) if points else None
        at = NOW - timedelta(days=400) + timedelta(minutes=minute)
        points.append(Point(f"r{number:02}", at, draw(st.booleans()), parent))
    return draw(st.permutations(points))


def kept(decisions: Sequence[Decision]) -> set[str]:
    return {decision.point.run_id for decision in decisions if decision.keep}


def nightly(nights: int, hour: int = 2) -> list[Point]:
    """One point a night up to the night before NOW."""
    last = datetime(2026, 11, 28, hour, tzinfo=UTC)
    return [Point(f"n{back}", last - back * DAY) for back in range(nights)][::-1]


def reasons(points: Sequence[Point], retention: Retention, zone: ZoneInfo = BERLIN) -> dict[str, tuple[str, ...]]:
    return {decision.point.run_id: decision.reasons for decision in decide(points, retention, NOW, zone)}


@given(histories(), retentions)
def test_every_point_is_decided_once_and_with_a_reason(points: list[Point], retention: Retention) -> None:
    decisions = decide(points, retention, NOW, BERLIN)
    assert [decision.point for decision in decisions] == sorted(points, key=lambda point: (point.at, point.run_id))
    assert all(decision.reasons and decision.keep == (decision.reasons != (NO_RULE,)) for decision in decisions)


@given(histories(), retentions)
def test_the_last_good_point_stays_whatever_the_rules_are(points: list[Point], retention: Retention) -> None:
    good = sorted((point for point in points if point.good), key=lambda point: (point.at, point.run_id))
    stays = kept(decide(points, retention, NOW, BERLIN))
    assert not points or stays
    assert not good or good[-1].run_id in stays


@given(histories(), retentions)
def test_all_that_a_kept_point_stands_on_is_kept(points: list[Point], retention: Retention) -> None:
    stays = kept(decide(points, retention, NOW, BERLIN))
    assert all(point.parent is None or point.parent in stays for point in points if point.run_id in stays)


@given(histories(), retentions)
def test_what_was_kept_is_kept_again(points: list[Point], retention: Retention) -> None:
    """A pruning that was interrupted anywhere, or is done twice, ends at the same."""
    stays = kept(decide(points, retention, NOW, BERLIN))
    rest = [point for point in points if point.run_id in stays]
    assert kept(decide(rest, retention, NOW, BERLIN)) == stays


@given(histories(), retentions, counts)
def test_more_to_keep_never_loses_a_point(points: list[Point], retention: Retention, more: int) -> None:
    wider = replace(retention, keep_daily=retention.keep_daily + more, keep_last=retention.keep_last + more)
    assert kept(decide(points, retention, NOW, BERLIN)) <= kept(decide(points, wider, NOW, BERLIN))


def restic(points: Sequence[Point], rules: Sequence[tuple[int, str]]) -> set[str]:
    """What restic's `forget` keeps: it walks from the newest, and counts down for each rule."""
    stays: set[str] = set()
    for count, pattern in rules:
        left, last = count, None
        newest_first = sorted(points, key=lambda point: (point.at, point.run_id), reverse=True)
        for point in newest_first:
            period = point.at.astimezone(BERLIN).strftime(pattern)
            if left and (period != last or point is newest_first[-1]):
                stays.add(point.run_id)
                last, left = period, left - 1
    return stays


@given(histories(), counts, counts, counts, counts)
def test_among_good_points_the_rules_are_those_of_restic(
    points: list[Point], daily: int, weekly: int, monthly: int, yearly: int
) -> None:
    points = [replace(point, good=True, parent=None) for point in points]
    retention = Retention(keep_daily=daily, keep_weekly=weekly, keep_monthly=monthly, keep_yearly=yearly)
    rules = [(daily, "%Y-%m-%d"), (weekly, "%G-%V"), (monthly, "%Y-%m"), (yearly, "%Y")]
    expected = restic(points, rules) | {point.run_id for point in sorted(points, key=lambda p: (p.at, p.run_id))[-1:]}
    assert kept(decide(points, retention, NOW, BERLIN)) == expected


@given(histories())
def test_nothing_is_removed_before_what_stands_on_it(points: list[Point]) -> None:
    order = [point.run_id for point in removal_order(points)]
    assert sorted(order) == sorted(point.run_id for point in points)
    assert all(order.index(p.run_id) < order.index(p.parent) for p in points if p.parent is not None)


def test_without_chains_the_oldest_goes_first() -> None:
    points = nightly(5)
    assert removal_order(points[::-1]) == points


def test_each_reason_names_its_period() -> None:
    told = reasons(nightly(40), Retention(keep_daily=2, keep_weekly=2, keep_monthly=2))
    assert told["n0"] == ("daily 2026-11-28", "weekly 2026-W48", "monthly 2026-11", "last good")
    assert told["n1"] == ("daily 2026-11-27",)
    assert told["n6"] == ("weekly 2026-W47",)
    assert told["n28"] == ("monthly 2026-10",)
    assert [run for run, why in told.items() if why != (NO_RULE,)] == ["n28", "n6", "n1", "n0"]


def test_a_young_history_keeps_its_beginning() -> None:
    told = reasons(nightly(10), Retention(keep_yearly=3))
    assert {run: why for run, why in told.items() if why != (NO_RULE,)} == {
        "n9": ("oldest for yearly",),
        "n0": ("yearly 2026", "last good"),
    }


def test_a_day_is_a_day_of_the_zone() -> None:
    late, early = datetime(2026, 11, 27, 22, 30, tzinfo=UTC), datetime(2026, 11, 27, 23, 30, tzinfo=UTC)
    points = [Point("late", late), Point("early", early)]
    assert kept(decide(points, Retention(keep_daily=5), NOW, BERLIN)) == {"late", "early"}
    assert reasons(points, Retention(keep_daily=5))["early"][0] == "daily 2026-11-28"
    assert kept(decide(points, Retention(keep_daily=1), NOW, ZoneInfo("UTC"))) == {"early"}


def test_an_hour_that_the_clock_repeats_is_two() -> None:
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30 in Berlin, and an hour later once more
    points = [Point("summer", first), Point("winter", first + timedelta(hours=1))]
    assert kept(decide(points, Retention(keep_hourly=2), NOW, BERLIN)) == {"summer", "winter"}


def test_within_counts_from_the_newest_so_that_time_alone_loses_nothing() -> None:
    old = [replace(point, at=point.at - 400 * DAY) for point in nightly(10)]
    assert kept(decide(old, Retention(keep_within=3 * 86400.0), NOW, BERLIN)) == {"n0", "n1", "n2", "n3"}


def test_a_point_from_the_future_does_not_outdate_all_others() -> None:
    points = [*nightly(3), Point("future", NOW + 1000 * DAY)]
    assert kept(decide(points, Retention(keep_within=7 * 86400.0), NOW, BERLIN)) == {"n0", "n1", "n2", "future"}


def test_one_that_is_not_good_never_takes_the_place_of_one_that_is() -> None:
    night = datetime(2026, 11, 28, 2, tzinfo=UTC)
    points = [Point("good", night), Point("bad", night + timedelta(hours=1), good=False)]
    assert kept(decide(points, Retention(keep_daily=7), NOW, BERLIN)) == {"good"}


def test_where_all_are_not_good_they_are_kept_like_good_ones() -> None:
    points = [replace(point, good=False) for point in nightly(9)]
    assert kept(decide(points, Retention(keep_daily=7), NOW, BERLIN)) >= {f"n{back}" for back in range(7)}
    assert reasons(points, Retention(keep_last=1))["n0"] == ("last", "last, and none is good")


@pytest.mark.parametrize("depth", [1, 3])
def test_a_chain_is_kept_down_to_its_full_backup(depth: int) -> None:
    points = nightly(6)
    chain = [replace(point, parent=below.run_id) for below, point in pairwise(points)]
    points = [points[0], *chain[:depth], *(replace(point, parent=points[depth].run_id) for point in chain[depth:])]
    told = reasons(points, Retention(keep_last=1))
    assert told["n0"] == ("last", "last good")
    assert told[points[depth].run_id][-1].startswith("parent of ")
    assert told["n5"] == (f"parent of {points[1].run_id}",)


def test_what_a_point_of_another_job_stands_on_is_kept() -> None:
    points = nightly(3)
    points[1] = replace(points[1], parent="n2")
    decisions = decide(points, Retention(keep_last=1), NOW, BERLIN, others=[Point("other", NOW, parent="n1")])
    assert [decision.reasons for decision in decisions[:2]] == [("parent of n1",), ("parent of other",)]
