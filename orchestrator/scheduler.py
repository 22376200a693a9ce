"""The daemon: recovers, then runs the jobs on their schedules. The only module that knows APScheduler.

APScheduler keeps its jobs in memory and they are made anew from the configuration at every start: the journal is the
memory of what ran. (Its SQL job store deletes a schedule that it cannot unpickle.)
"""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from orchestrator import cron
from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.errors import QuiesceError
from orchestrator.model import Fate, Job, Run, State, Trigger
from orchestrator.service import Service

#: Seconds between two sweeps for runs of dead processes and stuck guests.
_RECOVERY_EVERY = 60
#: How many runs of a job are looked at for its newest: stuck ones are listed first, however old they are.
_LOOK_BACK = 100
#: Seconds by which a run may begin late, e.g. while the host was suspended; later it is left out.
_GRACE = 3600

log = structlog.get_logger()


class Scheduler:
    """Runs the jobs of a service when they are due."""

    def __init__(self, service: Service, clock: Clock) -> None:
        self._service, self._clock = service, clock
        self._scheduler = BackgroundScheduler(job_defaults={"coalesce": True, "misfire_grace_time": _GRACE})
        self._stop = Stop()

    def serve(self, stop: Stop) -> None:
        """Recover, then run jobs on their schedules until `stop` is requested.

        Afterwards nothing has begun since the request, and every run that had begun has ended, its windows closed. A
        pruning that had begun was taken back, as far as it could be; the next goes on with it.
        Raises JournalError when the journal cannot be used at the start.
        """
        self._settle()
        scheduled = [job for job in self._service.jobs.values() if job.schedule or job.every]
        scheduler = self._scheduler
        pruned = [job for job in self._service.jobs.values() if job.retention]
        # No job waits for another one, nor for a pruning.
        scheduler.add_executor(ThreadPoolExecutor(len(scheduled) + len(pruned) + 1))
        for job in pruned:  # what a killed pruning left is gone on with now
            self._prune_soon(job.name)
        for job in scheduled:
            first = self._first_time(job)
            scheduler.add_job(self._run, trigger(job), args=[job.name], id=f"job {job.name}", **first)
        scheduler.add_job(self._recover, IntervalTrigger(seconds=_RECOVERY_EVERY), id="recovery")
        stopped = threading.Event()
        with stop.calling(self._stop.request), stop.calling(stopped.set):
            scheduler.start()
            log.info("serving", jobs=[job.name for job in scheduled])
            while not self._clock.wait(stopped, Deadline.after(self._clock, 3600)):
                pass
        log.info("stopping: nothing new begins, open windows close")
        scheduler.shutdown(wait=True)
        log.info("stopped")

    def _first_time(self, job: Job) -> dict[str, datetime]:
        if job.every is None:
            return {}
        runs = self._service.history(_LOOK_BACK, job=job.name)
        return {"next_run_time": due(job.every, [run.started_at for run in runs], self._clock.now())}

    def _run(self, job: str) -> None:
        try:
            run = self._service.run(job, trigger=Trigger.SCHEDULE)
        except QuiesceError as error:
            log.error("run failed", job=job, error=str(error))
            return
        _tell(run)
        if run.state is State.DONE and self._service.jobs[job].retention:
            self._prune_soon(job)

    def _prune_soon(self, job: str) -> None:
        """Prune on a thread of its own: a merge may take longer than it is to the job's next run."""
        self._scheduler.add_job(self._prune, args=[job], id=f"prune {job}", replace_existing=True)

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

    def _recover(self) -> None:
        try:
            self._settle()
        except QuiesceError as error:
            log.error("recovery failed", error=str(error))

    def _settle(self) -> None:
        for run in self._service.recover():
            _tell(run)


def due(every: float, runs: Sequence[datetime], now: datetime) -> datetime:
    """When a job is due first that began at those times: a restart of the daemon does not put it off.

    One that is overdue, or has never run, is due now.
    """
    return max([now, *(begun + timedelta(seconds=every) for begun in sorted(runs)[-1:])])


def trigger(job: Job) -> BaseTrigger:
    """When the job is due, for APScheduler, in the host's time zone."""
    if job.every is not None:
        return IntervalTrigger(seconds=job.every)
    assert job.schedule is not None
    times = cron.parse(job.schedule)
    fixed = {"minute": _listed(times.minutes), "hour": _listed(times.hours), "month": _listed(times.months)}
    kinds = {"day": times.days, "day_of_week": times.weekdays}
    days = {name: _listed(values) for name, values in kinds.items() if values is not None}
    # APScheduler wants all its fields to fit, cron often one of the two kinds of day.
    alternatives = [days] if times.both or not days else [{name: values} for name, values in days.items()]
    triggers = [CronTrigger(**fixed, **day) for day in alternatives]
    return triggers[0] if len(triggers) == 1 else OrTrigger(triggers)


def _listed(values: frozenset[int]) -> str:
    return ",".join(map(str, sorted(values)))


def _tell(run: Run) -> None:
    """One line for each run that ended: an alarm for a stuck one."""
    level = {State.STUCK: log.critical, State.DONE: log.info}.get(run.state, log.warning)
    facts = {"run": run.id, "job": run.job and run.job.name, "state": run.state, "consistency": run.consistency}
    level("run ended", **facts, window_ms=run.window_ms, error=run.error)
