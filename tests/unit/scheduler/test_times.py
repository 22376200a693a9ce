"""When jobs are due: cron as crontab(5) has it, once at each time however clocks are changed, and intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduler.times import Cron, Every

NOW = datetime(2026, 7, 15, 12, 0, tzinfo=UTC)
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - in UTC
LONDON, BERLIN = ZoneInfo("Europe/London"), ZoneInfo("Europe/Berlin")


def fires(schedule: str, first: datetime, last: datetime, zone: ZoneInfo = LONDON) -> Iterator[datetime]:
    """The times of a schedule on the zone's wall clocks, from `first` to before `last`."""
    times = Cron(schedule, zone)
    moment = first.replace(tzinfo=zone).astimezone(UTC) - timedelta(microseconds=1)
    while (local := (moment := times.after(moment)).astimezone(zone).replace(tzinfo=None)) < last:
        yield local


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


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("30 2 * * *", ["28 02:30 +0100", "29 03:30 +0200", "30 02:30 +0200"]),
        ("30 2,3 * * *", ["28 02:30 +0100", "28 03:30 +0100", "29 03:30 +0200", "30 02:30 +0200"]),
        ("0 * 29 * *", ["29 00:00 +0100", "29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200"]),
    ],
)
def test_when_clocks_go_forward_each_time_comes_once(schedule: str, expected: list[str]) -> None:
    found = coming(schedule, datetime(2026, 3, 27, 23, tzinfo=UTC), len(expected))
    assert found == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("30 2 * * *", ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]),
        ("0 * 25 * *", ["25 00:00 +0200", "25 01:00 +0200", "25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100"]),
    ],
)
def test_when_clocks_go_back_each_time_comes_once_and_each_hour_too(schedule: str, expected: list[str]) -> None:
    found = coming(schedule, datetime(2026, 10, 23, 22, tzinfo=UTC), len(expected))
    assert found == expected


def coming(schedule: str, moment: datetime, count: int) -> list[str]:
    """The next times of a schedule in Berlin."""
    times, found = Cron(schedule, BERLIN), []
    for _ in range(count):
        moment = times.after(moment)
        found.append(f"{moment.astimezone(BERLIN):%d %H:%M %z}")
    return found


@given(
    moment=MOMENTS,
    zone=st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]
    ),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
)
def test_a_time_of_the_day_comes_once_on_each_day(moment: datetime, zone: str, hour: int, minute: int) -> None:
    times, days = Cron(f"{minute} {hour} * * *", ZoneInfo(zone)), []
    for _ in range(5):
        following = times.after(moment)
        assert following > moment
        moment = following
        days.append(moment.astimezone(ZoneInfo(zone)).date())
    assert [day - days[0] for day in days] == [timedelta(days=number) for number in range(5)]


@given(seconds=st.integers(1, 10**6), passed=st.integers(-100, 10**7))
def test_an_interval_stays_on_its_grid(seconds: int, passed: int) -> None:
    moment = NOW + timedelta(seconds=passed)
    following = Every(seconds, NOW).after(moment)
    assert following > moment
    assert (following - NOW).total_seconds() % seconds == 0
    assert following - moment <= timedelta(seconds=seconds)
