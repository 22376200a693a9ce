"""What wakes the scheduler at a job's times, by APScheduler."""

from datetime import UTC, datetime, timedelta

from apscheduler.triggers.base import BaseTrigger

from orchestrator.scheduler.times import Times


class Alarm(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Goes off at a job's times. What is due then is another question."""

    def __init__(self, times: Times, delay: timedelta) -> None:
        self._times, self._delay = times, delay

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """See APScheduler."""
        return self._times.after(now.astimezone(UTC) - self._delay) + self._delay
