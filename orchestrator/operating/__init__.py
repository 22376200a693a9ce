"""What an operator does to one machine by hand. Each act is a run without a job in the history."""

from orchestrator.operating.asking import Asking
from orchestrator.operating.channels import Channelling
from orchestrator.operating.entries import Entries
from orchestrator.operating.power import Powering
from orchestrator.operating.seams import Connections

__all__ = ["Connections", "Entries", "Operating"]


class Operating:
    """All of it, over one history."""

    def __init__(self, entries: Entries, connections: Connections) -> None:
        self.asking = Asking(entries, connections)
        self.channelling = Channelling(entries, connections)
        self.powering = Powering(entries, connections)
