"""Which run of a job is due, from its times and from what was decided before. Pure, so that a restart decides alike.

Everything up to a job's *horizon* is decided: run, or let go. What lies between the horizon and now is one run at the
most, whatever was missed: the newest time is due, and those before it are let go with it.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator import blackout
from orchestrator.model import CatchUp, Job
from orchestrator.scheduler.times import Times

#: How late a run of a job that catches nothing up may begin: more than a busy host is late.
_LATE = timedelta(minutes=5)
_FIRST_LOOK = timedelta(minutes=1)


@dataclass(frozen=True)
class Decision:
    """What is to be done about a job now."""

    #: The time whose run is to begin; None when none is.
    run: datetime | None = None
    #: Up to here everything is decided; None when nothing new is.
    horizon: datetime | None = None
    #: Why a time was let go; None when none was.
    let_go: str | None = None
    #: It was let go though nobody had wanted that.
    missed: bool = False


def decide(job: Job, times: Times, horizon: datetime, now: datetime, *, paused: bool, local: datetime) -> Decision:
    """What is due of `job` at `now`, when all is decided up to `horizon`; `local` is `now` on the job's wall clock."""
    due = _newest(times, horizon, now - delay(job))
    if due is None:
        return Decision()
    if paused:
        return Decision(horizon=due, let_go="the job is paused")
    dark = next((text for text in job.blackout if blackout.parse(text).covers(local)), None)
    if job.catch_up is CatchUp.ONCE:
        return Decision() if dark else Decision(run=due, horizon=due)  # a blackout ends, and then it is still due
    if dark is not None:
        return Decision(horizon=due, let_go=f"it falls into the blackout {dark!r}")
    if now - delay(job) - due > _LATE:
        return Decision(horizon=due, let_go="nobody was there to run it in time", missed=True)
    return Decision(run=due, horizon=due)


def delay(job: Job) -> timedelta:
    """How long after its times a job begins: the same always, and another one for each job, within its jitter."""
    fraction = int.from_bytes(hashlib.sha256(job.name.encode()).digest()[:6]) / 2**48
    return timedelta(seconds=round(job.jitter * fraction, 3))


def _newest(times: Times, since: datetime, until: datetime) -> datetime | None:
    """The last time after `since` that is not after `until`. However long ago `since` is, it takes a few looks."""
    width = _FIRST_LOOK
    while True:
        begin = max(since, until - width)
        found = times.after(begin)
        if found <= until:
            break
        if begin == since or since >= until:
            return None
        width *= 2
    while (following := times.after(found)) <= until:
        found = following
    return found
