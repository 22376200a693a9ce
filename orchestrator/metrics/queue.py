"""What waits, and what runs, in this process."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class QueueLength(Collector):
    """How many runs wait, and how many are at work."""

    def __init__(self, lengths: Callable[[], tuple[int, int]]) -> None:
        self._lengths = lengths

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        waiting, running = self._lengths()
        yield GaugeMetricFamily("quiesce_queue_length", "Runs that are due and wait for their machines.", waiting)
        yield GaugeMetricFamily("quiesce_runs_at_work", "Runs that this service has begun and not ended.", running)
