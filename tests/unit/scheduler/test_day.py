"""A day and a half of 200 jobs on a stepped clock, over a change of the clocks, two ends by SIGKILL and two restarts.

Every time that comes due has exactly one run, also those that nobody was there for. What is expected is counted off a
calendar, without the scheduler's own arithmetic.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from orchestrator.clock import Stop
from orchestrator.model import Job, Machine, Owner, Run, State, Target, Trigger
from orchestrator.scheduler import Scheduler
from orchestrator.scheduler.agenda import delay
from orchestrator.scheduler.alarm import Alarm
from orchestrator.scheduler.times import times, zone_of
from tests.fakes.clock import SteppedClock
from tests.fakes.journal import MemoryJournal
from tests.fakes.schedules import MemorySchedules

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LENGTH = 36 * HOUR


class DayClock(SteppedClock):
    """Begins at a given time; what is started runs when `work_off` is called, one after the other."""

    def __init__(self, begin: datetime) -> None:
        super().__init__()
        self._begin = begin
        self._started: list[Callable[[], None]] = []

    def now(self) -> datetime:
        return self._begin + timedelta(seconds=self.monotonic())

    def start(self, name: str, work: Callable[[], None]) -> None:
        self._started.append(work)

    def work_off(self) -> None:
        """Do all that was started, and what that starts."""
        while self._started:
            self._started.pop(0)()

    def forget(self) -> None:
        """Who started it is dead."""
        self._started.clear()


class Runs:
    """A service that only opens and closes runs, in a journal that outlives the daemon. It may be killed in any."""

    def __init__(self, jobs: Collection[Job], journal: MemoryJournal, clock: DayClock) -> None:
        self.jobs = {job.name: job for job in jobs}
        self._journal, self._clock = journal, clock
        self.killed_after: int | None = None
        self.killed = False

    def recover(self) -> tuple[Run, ...]:
        return ()

    def run(self, job: str, *, scheduled_for: datetime, leaving_out: Collection[str], stop: Stop) -> Run:
        number = len(self._journal.runs)
        run = self._journal.open_run(
            Run(
                id=f"r{number}",
                job=self.jobs[job],
                trigger=Trigger.SCHEDULE,
                owner=Owner("host", "boot", 1, 1),
                started_at=self._clock.now(),
                targets=tuple(Target(Machine(name, agent="/a")) for name in self.jobs[job].machines),
                scheduled_for=scheduled_for,
            )
        )
        if number == self.killed_after:
            self.killed = True
        if self.killed:  # nobody lives who could close it
            raise SystemExit
        if run.targets[0].state is not State.REFUSED:  # by a run that was killed
            self._journal.move(run, replace(run.targets[0], state=State.FAILED), ())
        return self._journal.run(run.id)


def some_jobs(chance: Random) -> Iterator[Job]:
    """200 of them: at a time of the day, one an hour, each so many minutes, spread or not."""
    for number in range(200):
        hour, minute = chance.choice([0, 1, 2, 2, 3, chance.randrange(24)]), chance.randrange(60)
        job = Job(f"job{number}", (f"vm{number}",), "command", timezone="Europe/Berlin", jitter=chance.choice([0, 300]))
        match chance.randrange(3):
            case 0:
                yield replace(job, schedule=f"{minute} {hour} * * *")
            case 1:
                yield replace(job, schedule=f"{minute} * * * *")
            case _:
                yield replace(job, every=60.0 * chance.randint(40, 200))


def expected(job: Job, begin: datetime, end: datetime) -> Counter[datetime]:
    """When it is due, from a calendar."""
    if job.every is not None:
        count = int((end - begin).total_seconds() // job.every) + 1
        return Counter(begin + timedelta(seconds=job.every * number) for number in range(count))
    assert job.schedule is not None
    minute, hour = job.schedule.split()[:2]
    if hour == "*":
        first = begin.replace(minute=int(minute))
        due = [first + number * HOUR for number in range(-1, 40)]
    else:
        days = [date.fromordinal(begin.date().toordinal() + number) for number in range(-1, 4)]
        walls = [datetime(day.year, day.month, day.day, int(hour), int(minute)) for day in days]  # noqa: DTZ001 - walls
        due = [wall.replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC) for wall in walls]
    return Counter(moment for moment in due if begin < moment <= end)


def live(scheduler: Scheduler, runs: Runs, clock: DayClock, until: datetime) -> None:
    """What the daemon does until then, or until it is killed: it looks at a job when its alarm goes off, and at all of
    them now and then.
    """
    scheduler.look()
    clock.work_off()
    alarms = []
    for job in runs.jobs.values():
        known = times(job, zone_of(job), clock.now())
        assert known is not None
        alarm = Alarm(known, delay(job))
        alarms.append((alarm.get_next_fire_time(None, clock.now()), job.name, alarm))
    sweep = clock.now() + 30 * MINUTE
    heapq.heapify(alarms)
    while (moment := min(alarms[0][0], sweep)) <= until and not runs.killed:
        clock.step((moment - clock.now()).total_seconds())
        if moment == sweep:
            scheduler.look()
            sweep += 30 * MINUTE
        else:
            _, name, alarm = alarms[0]
            heapq.heapreplace(alarms, (alarm.get_next_fire_time(None, moment + timedelta(microseconds=1)), name, alarm))
            scheduler.look(name)
        clock.work_off()
    if not runs.killed:
        clock.step((until - clock.now()).total_seconds())


@pytest.mark.parametrize("begin", [datetime(2026, 3, 28, 13, 7, tzinfo=UTC), datetime(2026, 10, 24, 13, 7, tzinfo=UTC)])
def test_every_time_is_run_exactly_once(begin: datetime) -> None:
    chance = Random(f"{begin}")  # noqa: S311 - the same each time
    jobs = list(some_jobs(chance))
    clock, schedules = DayClock(begin), MemorySchedules()
    journal, end, killed = MemoryJournal(clock), begin + LENGTH, 0
    for restart in (11.7 * HOUR, 22.2 * HOUR, LENGTH):
        runs = Runs(jobs, journal, clock)
        scheduler = Scheduler(runs, schedules, clock)  # type: ignore[arg-type]  # it has all of a service that is used
        live(scheduler, runs, clock, begin + restart - HOUR)
        if restart < LENGTH:
            runs.killed_after = len(journal.runs) + chance.randrange(20)
        live(scheduler, runs, clock, begin + restart)
        if runs.killed:
            killed += 1
            clock.forget()
            clock.step(35 * 60)
    assert killed == 2
    found = {job.name: Counter[datetime | None]() for job in jobs}
    for run in journal.runs.values():
        assert run.job is not None
        found[run.job.name][run.scheduled_for] += 1
    settled = end - 6 * MINUTE  # what is spread begins up to 5 minutes later
    for job in jobs:
        until = Counter({moment: n for moment, n in found[job.name].items() if moment is None or moment <= settled})
        assert until == expected(job, begin, settled), job
