"""What a cron expression means. Pure: text in, times out.

Five fields as in crontab(5): minute, hour, day of the month, month, day of the week. Each is a list of `*`, a value
or a range, and `*` and ranges may have a step. Where both kinds of day are given, a day that fits either one will do;
but it must fit both when one of them begins with `*` (`*/2`). On top of that, a date that never comes is refused.
"""

import re
from dataclasses import dataclass
from datetime import date

_VALUE = "[0-9]{1,2}|[a-z]{3}"
_ITEM = re.compile(rf"(?:(?P<any>\*)|(?P<first>{_VALUE})(?:-(?P<last>{_VALUE}))?)(?:/(?P<step>[0-9]{{1,2}}))?")
_LONGEST_MONTH = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1))


@dataclass(frozen=True)
class _Field:
    name: str
    least: int
    most: int
    #: Names of the values that end with `most`.
    names: tuple[str, ...] = ()

    def values(self, text: str) -> frozenset[int]:
        """The values that the field's text names. Raises ValueError when it cannot be read."""
        return frozenset(value for item in text.split(",") for value in self._item(item))

    def _item(self, text: str) -> range:
        match = _ITEM.fullmatch(text)
        if match is None or (match["step"] and not (match["any"] or match["last"])):
            raise ValueError(
                f"its {self.name} {text!r:.40} is not *, a value or a range, with a step after * or a range"
            )
        first = self.least if match["any"] else self._value(match["first"])
        last = self.most if match["any"] else self._value(match["last"] or match["first"])
        step = int(match["step"] or 1)
        if last < first:
            raise ValueError(f"its {self.name} {text!r:.40} runs backwards")
        if not 1 <= step <= self.most:
            raise ValueError(f"its {self.name} {text!r:.40} has a step that is not from 1 to {self.most}")
        return range(first, last + 1, step)

    def _value(self, text: str) -> int:
        if text in self.names:
            return self.most - len(self.names) + 1 + self.names.index(text)
        value = int(text) if text.isdigit() else None
        if value is None or not self.least <= value <= self.most:
            names = f" or {self.names[0]}-{self.names[-1]}" if self.names else ""
            raise ValueError(f"its {self.name} {text!r:.40} is not {self.least}-{self.most}{names}")
        return value


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    _Field("day of the week", 0, 7, ("mon", "tue", "wed", "thu", "fri", "sat", "sun")),  # 0 is Sunday, too
)


@dataclass(frozen=True)
class Cron:
    """The times that an expression names."""

    minutes: frozenset[int]
    hours: frozenset[int]
    #: Days of the month; None when it does not matter.
    days: frozenset[int] | None
    months: frozenset[int]
    #: Days of the week from 0, Monday, to 6, Sunday, as in ISO 8601 less one; None when it does not matter.
    weekdays: frozenset[int] | None
    #: Whether a day must fit both kinds, where both are given.
    both: bool = False

    def fits(self, day: date) -> bool:
        """Whether it names times on that day."""
        kinds = [day.day in self.days] if self.days is not None else []
        kinds += [day.weekday() in self.weekdays] if self.weekdays is not None else []
        return day.month in self.months and (all(kinds) if self.both else any(kinds or [True]))


def parse(expression: str) -> Cron:
    """The times that `expression` names. Raises ValueError, with what is wrong as its text."""
    texts = expression.lower().split()
    if len(texts) != len(_FIELDS):
        raise ValueError(f"it has {len(texts)} fields and not 5")
    minutes, hours, days, months, weekdays = (field.values(text) for field, text in zip(_FIELDS, texts, strict=True))
    both = texts[2].startswith("*") or texts[4].startswith("*")
    if both and min(days) > max(_LONGEST_MONTH[month] for month in months):
        raise ValueError("it names a date that never comes")
    return Cron(
        minutes=minutes,
        hours=hours,
        days=None if texts[2] == "*" else days,
        months=months,
        weekdays=None if texts[4] == "*" else frozenset((day - 1) % 7 for day in weekdays),
        both=both,
    )
