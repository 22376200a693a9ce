"""What the journal knows, read when somebody asks: however many do, every few seconds at the most."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator.answers import Frozen, LastGood, Tally
from orchestrator.clock import Clock, Deadline
from orchestrator.errors import JournalError
from orchestrator.evidence import holding
from orchestrator.model import Coming, Job, Run, State
from orchestrator.policy import is_degraded
from orchestrator.ports import Configured, Journal, Statistics

#: Seconds for which what was read is told again.
_FRESH = 5.0
#: Over which time runs and windows are counted: what began then is found by an index.
_DAY = timedelta(days=1)


class History(Collector):
    """The journal's figures of the configured machines and jobs; runs of all others have an empty `job_name`.

    A label `job` would be Prometheus' own.
    """

    def __init__(
        self,
        configured: Configured,
        journal: Journal,
        statistics: Statistics,
        coming: Callable[[], Sequence[Coming]],
        clock: Clock,
    ) -> None:
        self._configured, self._journal, self._statistics = configured, journal, statistics
        self._coming, self._clock = coming, clock
        self._lock = threading.Lock()
        self._read: Sequence[Metric] = ()
        self._stale = Deadline.after(clock, 0)

    def collect(self) -> Sequence[Metric]:
        """See prometheus_client. Without a journal all that is told is that it is away."""
        with self._lock:
            if self._stale.passed:
                up = GaugeMetricFamily("quiesce_journal_up", "1: the journal could be read.")
                try:
                    self._read = (up, *self._figures())
                    up.add_metric([], 1)
                except JournalError:
                    self._read = (up,)
                    up.add_metric([], 0)
                self._stale = Deadline.after(self._clock, _FRESH)
            return self._read

    def _figures(self) -> Iterator[Metric]:
        now, machines, jobs = self._clock.now(), self._configured.machines, self._configured.jobs
        yield from _runs(self._statistics.tally(now - _DAY), jobs)
        yield from _freezes(self._journal.open_runs(), machines, now)
        yield _longest(self._statistics.frozen(now - _DAY), machines)
        scheduled = (job for job in jobs.values() if job.schedule is not None or job.every is not None)
        wanted = {machine for job in scheduled for machine in job.machines}
        yield _last_good(self._statistics.last_good(), wanted, machines)
        yield _next(self._coming())


def _runs(tallies: Iterable[Tally], jobs: Mapping[str, Job]) -> Iterator[Metric]:
    found = GaugeMetricFamily(
        "quiesce_runs", "Runs that began in the last 24 hours.", labels=["job_name", "state", "consistency"]
    )
    degraded = GaugeMetricFamily(
        "quiesce_degraded_runs",
        "Runs of the last 24 hours that are done at a lower consistency than their job wants.",
        labels=["job_name"],
    )
    counts: Counter[tuple[str, str, str]] = Counter()
    lower = Counter(dict.fromkeys(jobs, 0))
    for tally in tallies:
        job = jobs.get(tally.job or "")
        counts[job.name if job else "", tally.state.value, tally.consistency.value] += tally.runs
        if job is not None and is_degraded(job, tally.state, tally.consistency):
            lower[job.name] += tally.runs
    for labels, count in counts.items():
        found.add_metric(labels, count)
    for name, count in lower.items():
        degraded.add_metric([name], count)
    yield from (found, degraded)


def _freezes(opened: Iterable[Run], machines: Iterable[str], now: datetime) -> Iterator[Metric]:
    seconds, stuck = dict.fromkeys(machines, 0.0), dict.fromkeys(machines, False)
    for run in opened:
        for target in run.targets:
            name = target.machine.name
            intent = holding(run.steps_of(name))
            if target.state in {State.RUNNING, State.STUCK} and intent is not None:
                seconds[name] = max(0.001, (now - intent.at).total_seconds())
            if target.state is State.STUCK:
                stuck[name] = True
    frozen = GaugeMetricFamily(
        "quiesce_frozen_seconds",
        "For how long a run of the journal may have kept the guest frozen; 0: not now.",
        labels=["machine"],
    )
    alarms = GaugeMetricFamily("quiesce_stuck", "1: the thaw of the guest is not confirmed.", labels=["machine"])
    for name in seconds:
        frozen.add_metric([name], seconds[name])
    for name in stuck:
        alarms.add_metric([name], stuck[name])
    yield from (frozen, alarms)


def _longest(found: Iterable[Frozen], machines: Iterable[str]) -> Metric:
    longest = GaugeMetricFamily(
        "quiesce_longest_window_seconds",
        "The longest time from freeze to confirmed thaw in runs of the last 24 hours.",
        labels=["machine"],
    )
    for each in found:
        if each.machine in machines:
            longest.add_metric([each.machine], each.longest_ms / 1000)
    return longest


def _last_good(found: Iterable[LastGood], wanted: Iterable[str], machines: Iterable[str]) -> Metric:
    """Of the machines that a schedule wants backed up, also those that never were; of others, when they were."""
    at = dict.fromkeys(sorted(wanted), 0.0)
    at |= {each.machine: each.at.timestamp() for each in found if each.at is not None and each.machine in machines}
    last = GaugeMetricFamily(
        "quiesce_last_good_run_timestamp_seconds",
        "When the machine's last run began that is done and proven to be quiesced; 0: never.",
        labels=["machine"],
    )
    for name, timestamp in at.items():
        last.add_metric([name], timestamp)
    return last


def _next(coming: Iterable[Coming]) -> Metric:
    following = GaugeMetricFamily(
        "quiesce_next_run_timestamp_seconds", "When the job is due next; none while it is paused.", labels=["job_name"]
    )
    for each in coming:
        if each.pause is None:
            following.add_metric([each.job], each.times[0].timestamp())
    return following
