"""What this process saw happen, counted from its start on."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import prometheus_client as prometheus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from orchestrator.model import Action, Outcome, Run, Sight, Sighting, State, Step, Target
from orchestrator.states import OPEN

#: Seconds. A quiet guest's freeze takes 40 to 140 ms (docs/figures.md); the limits of a job go up to minutes.
_WINDOW = (0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
#: Seconds: from the increment of a quiet machine to the full copy of a large one.
_COPY = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600)


class Events(Collector):
    """Counts what it witnesses. Without a label for the machine: with thousands, that would be too many series."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._ended = prometheus.Counter(
            "quiesce_targets_ended",
            "Targets of runs that ended in this process.",
            ("job_name", "state", "consistency"),
            registry=registry,
        )
        self._durations = {
            Action.FREEZE: self._histogram("freeze", "From sending the freeze to its answer."),
            Action.THAW: self._histogram("thaw", "From sending a thaw to its answer."),
            Action.COPY: self._histogram("copy", "Copies of backups, after the thaw.", _COPY),
        }
        self._hold = self._histogram("hold", "From the freeze's answer to the thaw's.")
        self._notices = prometheus.Counter(
            "quiesce_notices", "Messages about runs, by what became of them.", ("outcome",), registry=registry
        )
        self._seen: Sequence[Sighting] = ()

    def _histogram(self, name: str, text: str, buckets: Sequence[float] = _WINDOW) -> prometheus.Histogram:
        return prometheus.Histogram(f"quiesce_{name}_seconds", text, buckets=buckets, registry=self._registry)

    def witness(self, run: Run, target: Target | None, steps: Sequence[Step]) -> None:
        """See `ports.Witness`."""
        for step in steps:
            if step.action in self._durations and step.outcome is Outcome.DONE and step.duration_ms is not None:
                self._durations[step.action].observe(step.duration_ms / 1000)
        if target is None or (target.state in OPEN and target.state is not State.STUCK):
            return
        if target.hold_ms is not None:
            self._hold.observe(target.hold_ms / 1000)
        self._ended.labels(run.job.name if run.job else "", target.state.value, target.consistency.value).inc()

    def notice(self, outcome: str) -> None:
        """Count what became of a message."""
        self._notices.labels(outcome).inc()

    def seen(self, sightings: Sequence[Sighting]) -> None:
        """Remember the last look at all machines."""
        self._seen = sightings

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield from self._registry.collect()
        yield from _seen(self._seen)


def _seen(sightings: Iterable[Sighting]) -> Iterator[Metric]:
    sightings = tuple(sightings)
    counts = Counter(each.saw for each in sightings)
    seen = GaugeMetricFamily("quiesce_machines_seen", "Machines, by what the last look at all saw.", labels=["saw"])
    foreign = GaugeMetricFamily(
        "quiesce_foreign_freeze", "1: frozen, and by no run of the journal, when it was last seen.", labels=["machine"]
    )
    for saw in Sight:
        seen.add_metric([saw.value], counts[saw])
    for each in sightings:
        foreign.add_metric([each.machine], each.saw is Sight.FOREIGN)
    yield from (seen, foreign)
