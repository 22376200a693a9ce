"""What Prometheus reads. The only room that knows its client.

What the journal knows is read from it when somebody asks (`history`): so it is true after a restart, and for runs of
other processes. What only this process saw is counted as it comes (`events`), from its start on.
"""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.registry import Collector

from orchestrator.metrics.events import Events
from orchestrator.metrics.history import History
from orchestrator.metrics.queue import QueueLength

__all__ = ["Events", "History", "QueueLength", "render"]

disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each counter, which nobody reads


def render(collectors: Sequence[Collector]) -> bytes:
    """What they have to say, and what the system knows of this process, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    for collector in collectors:
        registry.register(collector)
    return generate_latest(registry)
