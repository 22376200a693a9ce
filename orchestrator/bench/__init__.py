"""The operator's bench: what a person does to one machine by hand. Each act is a run without a job in the history."""

from orchestrator.bench.asking import Asking
from orchestrator.bench.channels import Channelling
from orchestrator.bench.entries import Entries
from orchestrator.bench.power import Powering
from orchestrator.bench.seams import Connections

__all__ = ["Bench", "Connections", "Entries"]


class Bench:
    """All of it, over one history."""

    def __init__(self, entries: Entries, connections: Connections) -> None:
        self.asking = Asking(entries, connections)
        self.channelling = Channelling(entries, connections)
        self.powering = Powering(entries, connections)
