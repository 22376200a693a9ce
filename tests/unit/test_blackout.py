"""What a blackout window covers, and what is none."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.blackout import parse

MONDAY = datetime(2026, 11, 2)  # noqa: DTZ001 - on a wall clock


def covered(text: str) -> set[tuple[int, int]]:
    """The hours of the week in the window, as day and hour."""
    hours = [MONDAY + timedelta(hours=number) for number in range(7 * 24)]
    return {(hour.weekday(), hour.hour) for hour in hours if parse(text).covers(hour)}


def test_days_and_hours() -> None:
    assert covered("mon-fri 08:00-10:00") == {(day, hour) for day in range(5) for hour in (8, 9)}
    assert covered("SAT,Sun 00:00-24:00") == {(day, hour) for day in (5, 6) for hour in range(24)}
    assert covered("22:00-01:00") == {(day, hour) for day in range(7) for hour in (22, 23, 0)}
    assert covered("sun 23:00-02:00") == {(6, 23), (0, 0), (0, 1)}
    assert covered("sat-mon 12:00-13:00") == {(5, 12), (6, 12), (0, 12)}


@pytest.mark.parametrize(
    "text", ["", "mon", "8:00-9:00", "24:00-01:00", "mon-xyz 01:00-02:00", "mon,, 01:00-02:00", "montag 01:00-02:00"]
)
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(ValueError, match=r"DAYS HH:MM-HH:MM|is not a day"):
        parse(text)


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 23), st.integers(0, 59))
def test_a_minute_is_in_a_window_or_in_its_complement(h1: int, m1: int, h2: int, m2: int) -> None:
    begin, end = f"{h1:02}:{m1:02}", f"{h2:02}:{m2:02}"
    if begin == end:
        return
    inside, outside = parse(f"{begin}-{end}"), parse(f"{end}-{begin}")
    for number in range(0, 24 * 60, 7):
        moment = MONDAY + timedelta(minutes=number)
        assert inside.covers(moment) is not outside.covers(moment)
