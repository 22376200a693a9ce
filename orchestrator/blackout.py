"""What a blackout window means: a part of the week in which nothing scheduled begins. Pure: text in, times out.

`mon-fri 08:00-18:00`, `sat,sun 00:00-24:00`, or `22:00-02:00` for every day. A window that ends at or before its
beginning ends on the next day.
"""

import re
from dataclasses import dataclass
from datetime import datetime

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW = re.compile(rf"(?:(?P<days>[a-z,-]+) +)?(?P<begin>{_TIME})-(?P<end>{_TIME}|24:00)")
_DAY = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?")


@dataclass(frozen=True)
class Window:
    """A part of each week, on a wall clock."""

    #: From 0, Monday, to 6, Sunday: the days on which it begins.
    days: frozenset[int]
    #: Minutes since midnight.
    begin: int
    end: int

    def covers(self, local: datetime) -> bool:
        """Whether that wall-clock time is in it."""
        minute = local.hour * 60 + local.minute
        today, yesterday = local.weekday() in self.days, (local.weekday() - 1) % 7 in self.days
        if self.begin < self.end:
            return today and self.begin <= minute < self.end
        return (today and minute >= self.begin) or (yesterday and minute < self.end)


def parse(text: str) -> Window:
    """The window that `text` names. Raises ValueError, with what is wrong as its text."""
    found = _WINDOW.fullmatch(text.lower())
    if found is None:
        raise ValueError('it is not "DAYS HH:MM-HH:MM", with days such as mon-fri or sat,sun, or none for every day')
    days = range(7) if found["days"] is None else [day for item in found["days"].split(",") for day in _days(item)]
    return Window(frozenset(days), _minutes(found["begin"]), _minutes(found["end"]))


def _days(item: str) -> list[int]:
    """A day or a range of days, which may run over the end of the week."""
    found = _DAY.fullmatch(item)
    if found is None or not {found[1], found[2] or found[1]} <= set(_DAYS):
        raise ValueError(f"{item!r:.20} is not a day such as mon, or a range such as mon-fri")
    first, last = _DAYS.index(found[1]), _DAYS.index(found[2] or found[1])
    return [(first + number) % 7 for number in range((last - first) % 7 + 1)]


def _minutes(time: str) -> int:
    return int(time[:2]) * 60 + int(time[3:])
