"""What the daemon does not expect: a clock that is set right after it was years ahead, and a job that has just gone."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.errors import AlreadyRun, ConfigError
from orchestrator.model import CatchUp, Concern, Job, Notice, NoticeKind
from orchestrator.ports import Nobody
from orchestrator.scheduler import Scheduler
from tests.fakes.schedules import MemorySchedules
from tests.unit.scheduler.test_day import DayClock

BEGIN = datetime(2026, 3, 2, 13, 7, tzinfo=UTC)
HOUR, YEAR = 3600.0, 365 * 86400.0


class Times:
    """A service that only remembers what it ran, each time once, as the journal does."""

    def __init__(self, job: Job) -> None:
        self.jobs = {job.name: job}
        self.machines: dict[str, object] = {}
        self.ran: list[datetime] = []

    def run(self, job: str, *, scheduled_for: datetime, leaving_out: Collection[str], stop: object) -> None:
        if scheduled_for in self.ran:
            raise AlreadyRun("it is in the journal")
        self.ran.append(scheduled_for)
        raise AlreadyRun("the run is of no interest here")


def look(scheduler: Scheduler, clock: DayClock) -> None:
    scheduler.look()
    clock.work_off()


@pytest.mark.parametrize(
    "job",
    [
        Job("j", ("vm",), "command", every=HOUR),
        Job("j", ("vm",), "command", schedule="0 * * * *", timezone="UTC"),
    ],
    ids=["interval", "cron"],
)
def test_a_clock_that_is_set_back_holds_up_no_job(job: Job) -> None:
    clock, schedules, service = DayClock(BEGIN), MemorySchedules(), Times(job)
    scheduler = Scheduler(service, schedules, clock)  # type: ignore[arg-type]  # it has all that is used
    clock.step(10 * YEAR)
    look(scheduler, clock)
    clock.step(HOUR)
    look(scheduler, clock)
    ahead = len(service.ran)
    assert ahead
    clock.step(-10 * YEAR)
    for _ in range(6):
        look(scheduler, clock)
        clock.step(HOUR / 2)
    later = service.ran[ahead:]
    assert len(later) >= 2
    assert all(timedelta(0) <= clock.now() - moment <= timedelta(hours=3) for moment in later)


def test_an_alarm_of_a_job_that_is_configured_no_more_is_nothing() -> None:
    """It went off while the configuration was read again."""
    clock, schedules, service = DayClock(BEGIN), MemorySchedules(), Times(Job("j", ("vm",), "command", every=HOUR))
    Scheduler(service, schedules, clock).look("gone")  # type: ignore[arg-type]  # it has all that is used
    clock.work_off()
    assert service.ran == []


def test_a_clock_that_is_set_back_a_little_runs_nothing_twice() -> None:
    clock, schedules, service = DayClock(BEGIN), MemorySchedules(), Times(Job("j", ("vm",), "command", every=HOUR))
    scheduler = Scheduler(service, schedules, clock)  # type: ignore[arg-type]  # it has all that is used
    for seconds in (0.0, HOUR, -0.1, 0.2, -5.0, 6.0, HOUR - 1.0):
        clock.step(seconds)
        look(scheduler, clock)
    assert len(service.ran) == len(set(service.ran)) == 3


class Listener(Nobody):
    """A notifier that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Notice] = []

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)


class Broken(Times):
    """A service whose job does not fit its driver."""

    def run(self, job: str, *, scheduled_for: datetime, leaving_out: Collection[str], stop: object) -> None:
        raise ConfigError("the driver is not installed\nany more")


def test_a_run_that_cannot_begin_and_a_time_that_passed_are_told() -> None:
    clock, schedules, listener = DayClock(BEGIN), MemorySchedules(), Listener()
    broken = Broken(Job("j", ("vm",), "command", every=HOUR))
    look(Scheduler(broken, schedules, clock, listener), clock)  # type: ignore[arg-type]  # it has all that is used
    late = Times(Job("late", ("vm",), "command", schedule="0 * * * *", timezone="UTC", catch_up=CatchUp.SKIP))
    scheduler = Scheduler(late, schedules, clock, listener)  # type: ignore[arg-type]  # it has all that is used
    look(scheduler, clock)
    clock.step(HOUR)
    look(scheduler, clock)
    assert late.ran == []
    failed, missed = listener.told
    assert (failed.concern, missed.concern) == (
        Concern(NoticeKind.FAILED, "j"),
        Concern(NoticeKind.MISSED, "late"),
    )
    assert failed.text == r"FAILED j: it could not begin: the driver is not installed\nany more."
    assert missed.text.startswith("MISSED late: it was not run for 2026-03-02 14:00:00 UTC: nobody was there")
