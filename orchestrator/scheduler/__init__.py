"""The daemon: recovers, then runs the jobs on their schedules. The only room that knows APScheduler.

APScheduler wakes us, and is made anew from the configuration at every start. What is due then is decided from the
journal alone (`agenda`): it remembers what ran and what was let go, over restarts and between several daemons. So an
alarm that comes late, twice or not at all changes nothing; every minute all jobs are looked at anyway.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from orchestrator import notices
from orchestrator.clock import Bell, Clock, Deadline, Stop
from orchestrator.errors import AlreadyRun, ConfigError, JournalError, QuiesceError
from orchestrator.model import Coming, Fate, Horizon, Job, NoticeKind, Pausable, Run, Sighting, State
from orchestrator.ports import Configured, Nobody, Notifier, Schedules
from orchestrator.scheduler.agenda import decide, delay
from orchestrator.scheduler.alarm import Alarm
from orchestrator.scheduler.queue import Due, Queue
from orchestrator.scheduler.rounds import Rounds
from orchestrator.scheduler.supervisor import ALIVE, READY, STOPPING, tell
from orchestrator.scheduler.times import Times, times, zone_of
from orchestrator.service import Service

#: Seconds between two sweeps for runs of dead processes and stuck guests, and two looks at all jobs.
_EVERY = 60
#: Seconds for which the end of the service lets runs go on: a window takes less, a copy may take more.
_PATIENCE = 60.0
#: Stuck runs that people are told of.
_MOST_STUCK = 1000
#: How the alarms of jobs are called, and what prunes; that many prunings at once.
_JOB, _PRUNE, _PRUNINGS = "job ", "prune", 4

log = structlog.get_logger()


class Scheduler:
    """Runs the jobs of a service when they are due."""

    def __init__(
        self,
        service: Service,
        schedules: Schedules,
        clock: Clock,
        notifier: Notifier | None = None,
        seen: Callable[[Sequence[Sighting]], None] = lambda sightings: None,
    ) -> None:
        """`seen` is told what each look at all machines saw."""
        self._service, self._schedules, self._clock = service, schedules, clock
        self._notifier = notifier or Nobody()
        self._rounds = Rounds(service, clock, self._notifier, seen)
        self._alarms = BackgroundScheduler(job_defaults={"coalesce": True, "misfire_grace_time": None})
        self._alarms.add_executor(ThreadPoolExecutor(2))  # a slow recovery holds up no look at what is due
        self._alarms.add_executor(ThreadPoolExecutor(_PRUNINGS), _PRUNE)
        self._stop = Stop()
        self._queue = Queue(clock, self._run)
        #: One look at a time: none decides what another one is deciding.
        self._looking = threading.Lock()

    def serve(self, stop: Stop, hangup: Bell, load: Callable[[], Configured], daily: Callable[[], None]) -> None:
        """Recover, then run jobs on their schedules until `stop` is requested; `load` anew when `hangup` rings, and do
        what is to be done `daily`.

        Afterwards nothing has begun since the request, and every run that had begun has ended, its windows closed; a
        copy that takes long is cancelled. A pruning that had begun was taken back, as far as it could be; the next goes
        on with it. Raises JournalError when the journal cannot be used at the start.
        """
        self._settle()
        for job in self._service.jobs.values():
            if job.retention:  # what a killed pruning left is gone on with now
                self._prune_soon(job.name)
        self.look()
        self._set_alarms()
        self._alarms.add_job(self._look_again, IntervalTrigger(seconds=_EVERY), id="look")
        self._alarms.add_job(self._housekeep, IntervalTrigger(days=1), args=[daily], id="daily", executor=_PRUNE)
        self._alarms.add_job(self._housekeep, args=[daily], id="first of all", executor=_PRUNE)
        self._alarms.add_job(self._recover, IntervalTrigger(seconds=_EVERY), id="recovery")
        woken = threading.Event()
        hangup.calling(woken.set)
        with stop.calling(self._stop.request), stop.calling(woken.set), self._rounds.going():
            self._alarms.start()
            tell(READY)
            log.info("serving", jobs=[job.name for job, _ in self._scheduled()])
            while not stop.requested:
                self._clock.wait(woken, Deadline.after(self._clock, 3600))
                woken.clear()
                if hangup.answered():
                    self._reload(load)
        tell(STOPPING)
        log.info("stopping: nothing new begins, open windows close")
        self._alarms.remove_all_jobs()  # before the shutdown, between whose halves an alarm would fail
        self._alarms.shutdown(wait=True)
        self._queue.close(Deadline.after(self._clock, _PATIENCE))
        log.info("stopped")

    def queued(self) -> tuple[int, int]:
        """How many runs wait for their machines, and how many are at work."""
        return self._queue.lengths()

    def look(self, *names: str) -> None:
        """Begin what is due now of these jobs, or of all, and let go what is not to be run. Raises JournalError."""
        with self._looking:
            horizons, pauses = self._schedules.horizons(), self._schedules.pauses()
            paused = {kind: {pause.name for pause in pauses if pause.kind is kind} for kind in Pausable}
            jobs = self._service.jobs
            wanted = [jobs[name] for name in names or jobs if name in jobs]  # one may have just gone
            now = {job.name: self._horizon(job, horizons.get(job.name)) for job in wanted if _is_scheduled(job)}
            self._schedules.decided({name: each for name, each in now.items() if each is not horizons.get(name)})
            for job in wanted:
                if job.name in now and job.name not in self._queue:
                    self._decide(job, now[job.name], paused)

    def _decide(self, job: Job, horizon: Horizon, paused: Mapping[Pausable, set[str]]) -> None:
        zone, now = zone_of(job), self._clock.now()
        schedule = times(job, zone, horizon.first)
        assert schedule is not None
        machines = frozenset(job.machines) - paused[Pausable.MACHINE]
        decision = decide(
            job,
            schedule,
            horizon.until,
            now,
            paused=job.name in paused[Pausable.JOB] or not machines,
            local=now.astimezone(zone),
        )
        if decision.run is not None:
            self._queue.put(Due(job, decision.run, machines))
        elif decision.horizon is not None:
            log.warning("let go", job=job.name, scheduled_for=decision.horizon.isoformat(), why=decision.let_go)
            self._schedules.passed(job.name, decision.horizon)
            if decision.missed:
                self._notifier.tell(notices.of_missed(job.name, decision.horizon, decision.let_go or ""))

    def _horizon(self, job: Job, known: Horizon | None) -> Horizon:
        """The horizon of a job. One that is new, or has another schedule now, begins now.

        One that lies ahead is from a clock that was wrong: waiting for it could last years. What was run is run once.
        """
        now = self._clock.now()
        schedule = f"{job.schedule or job.every} {job.timezone or ''}".strip()
        if known is not None and known.schedule == schedule:
            if known.until <= now:
                return known
            return replace(known, until=now)
        # An interval is due at once; a time of the day is waited for.
        return Horizon(schedule, now, now - timedelta(microseconds=1) if job.every is not None else now)

    def _run(self, due: Due, stop: Stop) -> None:
        """Run what is due, and remember it, so that it is not due again."""
        left_out = set(due.job.machines) - due.machines
        try:
            run = self._service.run(due.job.name, scheduled_for=due.at, leaving_out=left_out, stop=stop)
            _tell(run)
            if run.state is State.DONE and due.job.retention:
                self._prune_soon(due.job.name)
        except AlreadyRun:
            log.info("another process has run it", job=due.job.name, scheduled_for=due.at.isoformat())
        except JournalError as error:  # it is due still; if it was in the journal already, that says so then
            log.error("run failed", job=due.job.name, error=str(error))
            self._notifier.tell(notices.of_unbegun(due.job.name, error))
            return
        except QuiesceError as error:
            log.error("run failed", job=due.job.name, error=str(error))
            self._notifier.tell(notices.of_unbegun(due.job.name, error))
        try:
            self._schedules.passed(due.job.name, due.at)
        except JournalError as error:
            log.error("the journal is away", error=str(error))

    def _prune_soon(self, job: str) -> None:
        """Prune on a thread of its own: a merge may take longer than it is to the job's next run."""
        self._alarms.add_job(self._prune, args=[job], id=f"prune {job}", executor=_PRUNE, replace_existing=True)

    def _prune(self, job: str) -> None:
        try:
            pruned = self._service.prune(job, stop=self._stop)
        except QuiesceError as error:
            log.error("pruning failed", job=job, error=str(error))
            return
        for each in pruned:
            if each.fate is not Fate.KEPT:
                level = log.info if each.error is None else log.warning
                facts = {"run": each.snapshot.run.id, "machine": each.snapshot.machine.name, "fate": each.fate.value}
                level("pruned", job=job, **facts, reasons=each.reasons, error=each.error)

    def _look_again(self, *names: str) -> None:
        tell(ALIVE)
        try:
            self.look(*names)
        except QuiesceError as error:
            log.error("cannot tell what is due", error=str(error))

    def _housekeep(self, daily: Callable[[], None]) -> None:
        try:
            daily()
        except QuiesceError as error:
            log.error("housekeeping failed", error=str(error))

    def _recover(self) -> None:
        try:
            self._settle()
        except QuiesceError as error:
            log.error("recovery failed", error=str(error))

    def _settle(self) -> None:
        begin = self._clock.now()
        for run in self._service.recover():
            _tell(run)
        stuck = self._service.history(_MOST_STUCK, state=State.STUCK)
        self._notifier.stand(NoticeKind.STUCK, notices.of_stuck(stuck), begin)

    def _reload(self, load: Callable[[], Configured]) -> None:
        """Go on with what is configured now, or with what was if that is wrong. What has begun goes on as it is."""
        before = {"machines": self._service.machines, "jobs": self._service.jobs}
        try:
            found = load()
        except ConfigError as error:
            log.error("the new configuration is refused, the old one goes on", error=str(error))
            return
        now = {"machines": found.machines, "jobs": found.jobs}
        log.info("reloaded", **{kind: differences(before[kind], now[kind]) for kind in before})
        self._service.configure(found.machines, found.jobs)
        for alarm in self._alarms.get_jobs():
            if alarm.id.startswith(_JOB):
                alarm.remove()
        self._set_alarms()
        self._look_again()

    def _set_alarms(self) -> None:
        for job, known in self._scheduled():
            self._alarms.add_job(self._look_again, Alarm(known, delay(job)), args=[job.name], id=_JOB + job.name)

    def _scheduled(self) -> Iterator[tuple[Job, Times]]:
        """The jobs that have a schedule, and when they are due as far as an alarm needs to know."""
        first = self._clock.now()
        for job in self._service.jobs.values():
            if (known := times(job, zone_of(job), first)) is not None:
                yield job, known


def coming(jobs: Iterable[Job], schedules: Schedules, now: datetime, count: int) -> Sequence[Coming]:
    """When each job that has a schedule is due after `now`, `count` times. Raises JournalError."""
    horizons = schedules.horizons()
    paused = {pause.name: pause for pause in schedules.pauses() if pause.kind is Pausable.JOB}
    found = []
    for job in jobs:
        known = times(job, zone_of(job), horizons[job.name].first if job.name in horizons else now)
        if known is not None:
            due = [known.after(now - delay(job))]
            while len(due) < count:
                due.append(known.after(due[-1]))
            found.append(Coming(job.name, tuple(each + delay(job) for each in due), paused.get(job.name)))
    return found


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> Sequence[str]:
    """What is configured otherwise now: `+name`, `-name`, and `~name` for what has changed."""
    added, removed = now.keys() - before.keys(), before.keys() - now.keys()
    changed = {name for name in now.keys() & before.keys() if now[name] != before[name]}
    marked = {"+": added, "-": removed, "~": changed}
    return [f"{mark}{name}" for mark, names in marked.items() for name in sorted(names)]


def _is_scheduled(job: Job) -> bool:
    return job.schedule is not None or job.every is not None


def _tell(run: Run) -> None:
    """One line for each run that ended: an alarm for a stuck one."""
    level = {State.STUCK: log.critical, State.DONE: log.info}.get(run.state, log.warning)
    facts = {"run": run.id, "job": run.job and run.job.name, "state": run.state.value}
    level("run ended", **facts, consistency=run.consistency.value, window_ms=run.window_ms, error=run.error)
