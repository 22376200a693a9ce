"""When a job is due: instants on the time line, from what its schedule says about clocks on the wall.

Twice a year a wall clock is changed, and then 02:30 may come twice or not at all. A job is due at each wall-clock time
of its schedule *once*:

- a time that the change leaves out counts as if the clock had not been changed yet (PEP 495, `fold=0`): 02:30 is then
  what the changed clock calls 03:30, 24 hours after the day before's;
- of a time that comes twice, the first is meant. A schedule that names every hour goes by hours and not by the clock's
  face: it is due both times.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import product
from typing import Protocol
from zoneinfo import ZoneInfo

from tzlocal import get_localzone

from orchestrator import cron
from orchestrator.model import Job


class Times(Protocol):
    """The instants at which a job is due."""

    def after(self, moment: datetime) -> datetime:
        """The first one after `moment`. Both are in UTC."""
        ...


class Cron:
    """A cron expression's times, on the wall clocks of one zone."""

    def __init__(self, expression: str, zone: ZoneInfo) -> None:
        """`expression` is one that `cron.parse` takes: it names a date that comes."""
        self._times, self._zone = cron.parse(expression), zone

    def after(self, moment: datetime) -> datetime:
        """See `Times`."""
        day = moment.astimezone(self._zone).date() - timedelta(days=1)
        while not (later := self._of(day, moment)):
            day += timedelta(days=1)
        # Where the clock is changed, what belongs to one day may come after what belongs to the next.
        return min(later + self._of(day + timedelta(days=1), moment))

    def _of(self, day: date, moment: datetime) -> list[datetime]:
        """The instants after `moment` that belong to that day."""
        if not self._times.fits(day):
            return []
        return [instant for instant in _of_day(self._times, self._zone, day) if instant > moment]


@lru_cache(maxsize=4096)  # the same days are asked for again and again, of each job
def _of_day(times: cron.Cron, zone: ZoneInfo, day: date) -> Sequence[datetime]:
    """The instants that belong to one day of the calendar, which fits."""
    instants = set()
    for hour, minute in product(times.hours, times.minutes):
        local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
        instants.add(local.astimezone(UTC))
        if len(times.hours) == 24:
            # Another instant only where the time comes twice. In a gap it would be before the change.
            again = local.replace(fold=1).astimezone(UTC)
            instants.add(max(again, local.astimezone(UTC)))
    return sorted(instants)


class Every:
    """A fixed time from one to the next, on a grid that begins with the first."""

    def __init__(self, seconds: float, first: datetime) -> None:
        self._step, self._first = timedelta(seconds=seconds), first

    def after(self, moment: datetime) -> datetime:
        """See `Times`. The grid has no beginning: the clock may be set back to before it was laid."""
        return self._first + ((moment - self._first) // self._step + 1) * self._step


#: All jobs are looked at every minute: an expression takes longer to read than to answer.
_cron = lru_cache(maxsize=4096)(Cron)


def times(job: Job, zone: ZoneInfo, first: datetime) -> Times | None:
    """When a job is due; None when it is started on demand only. `first` is where the grid of an interval begins."""
    if job.every is not None:
        return Every(job.every, first)
    return None if job.schedule is None else _cron(job.schedule, zone)


def zone_of(job: Job) -> ZoneInfo:
    """The zone whose wall clocks a job's schedule means."""
    if job.timezone is not None:
        return ZoneInfo(job.timezone)
    zone = get_localzone()
    assert isinstance(zone, ZoneInfo)
    return zone
