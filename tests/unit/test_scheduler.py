"""When jobs are due: cron as crontab(5) has it, and intervals that no restart puts off."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model import Job
from orchestrator.scheduler import due, trigger

NOW = datetime(2026, 7, 15, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def fires(schedule: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """The times of a schedule in local time, from `first` to before `last`."""
    times = trigger(Job("job", ("vm",), "command", schedule=schedule))
    previous: datetime | None = None
    now = first.astimezone()
    while (next_time := times.get_next_fire_time(previous, now)) is not None:
        if next_time.replace(tzinfo=None) >= last:
            return
        yield next_time.replace(tzinfo=None)
        previous = now = next_time


@dataclass(frozen=True)
class Field:
    """A field of an expression: its text, and the values that it names."""

    text: str
    values: frozenset[int]


@st.composite
def fields(draw: st.DrawFn, least: int, most: int, *, stars: bool = True) -> Field:
    """Fields of one kind: `*`, `*/step`, or a list of values and ranges."""
    if stars and draw(st.booleans()):
        step = draw(st.integers(1, most))
        return Field("*" if step == 1 else f"*/{step}", frozenset(range(least, most + 1, step)))
    texts, values = [], set[int]()
    for _ in range(draw(st.integers(1, 2))):
        first = draw(st.integers(least, most))
        last = draw(st.sampled_from([first, draw(st.integers(first, most))]))
        step = draw(st.integers(1, 3)) if last > first else 1
        texts.append(f"{first}" if last == first else f"{first}-{last}" + (f"/{step}" if step > 1 else ""))
        values |= set(range(first, last + 1, step))
    return Field(",".join(texts), frozenset(values))


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    day=fields(1, 31),
    month=fields(1, 12),
    weekday=fields(0, 7),
    begin=st.sampled_from([datetime(2026, 1, 1), datetime(2027, 7, 1), datetime(2028, 2, 1)]),  # noqa: DTZ001 - local
)
def test_days_are_those_of_crontab(
    minute: int, hour: int, day: Field, month: Field, weekday: Field, begin: datetime
) -> None:
    """Months in which no time zone of importance changes its clocks."""
    schedule = f"{minute} {hour} {day.text} {month.text} {weekday.text}"
    end = begin + timedelta(days=29)

    def fits(date: datetime) -> bool:
        of_month, of_week = date.day in day.values, bool({date.isoweekday(), date.isoweekday() % 7} & weekday.values)
        restricted = not (day.text.startswith("*") or weekday.text.startswith("*"))
        return date.month in month.values and ((of_month or of_week) if restricted else (of_month and of_week))

    dates = [begin + timedelta(days=number) for number in range((end - begin).days)]
    expected = [date.replace(hour=hour, minute=minute) for date in dates if fits(date)]
    try:
        found = list(fires(schedule, begin, end))
    except ValueError as error:
        assert "never comes" in str(error)
        found = []
    assert found == expected


@given(minute=fields(0, 59, stars=False), hour=fields(0, 23, stars=False))
def test_minutes_and_hours_of_a_day(minute: Field, hour: Field) -> None:
    begin = datetime(2026, 7, 15)  # noqa: DTZ001 - local
    day = [begin + timedelta(minutes=number) for number in range(24 * 60)]
    expected = [time for time in day if time.minute in minute.values and time.hour in hour.values]
    assert list(fires(f"{minute.text} {hour.text} * * *", begin, begin + timedelta(days=1))) == expected


@pytest.mark.parametrize(
    ("schedule", "days"),
    [
        ("0 0 * * 0", [5, 12, 19, 26]),
        ("0 0 * * 7", [5, 12, 19, 26]),
        ("0 0 * * sun", [5, 12, 19, 26]),
        ("0 0 * * 6-7", [4, 5, 11, 12, 18, 19, 25, 26]),
        ("0 0 1 * mon", [1, 6, 13, 20, 27]),
        ("0 0 */10 * wed", [1]),
        ("0 0 1-7 * */2", [2, 4, 5, 7]),
    ],
)
def test_days_of_july_2026(schedule: str, days: list[int]) -> None:
    """It begins on a Wednesday."""
    found = fires(schedule, datetime(2026, 7, 1), datetime(2026, 8, 1))  # noqa: DTZ001 - local
    assert [time.day for time in found] == days


def test_an_interval_goes_on_from_its_newest_run() -> None:
    assert due(3600, [NOW - 5 * HOUR, NOW - HOUR / 4, NOW - 2 * HOUR], NOW) == NOW + HOUR * 3 / 4


@pytest.mark.parametrize("runs", [[], [NOW - 2 * HOUR], [NOW - HOUR]])
def test_what_is_overdue_or_has_never_run_is_due_now(runs: list[datetime]) -> None:
    assert due(3600, runs, NOW) == NOW


def test_an_interval_is_kept() -> None:
    every = trigger(Job("job", ("vm",), "command", every=90.0))
    assert every.get_next_fire_time(NOW, NOW + timedelta(seconds=1)) == NOW + timedelta(seconds=90)
