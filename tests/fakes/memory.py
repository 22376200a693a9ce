"""What people were told, for as long as the program runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.model import Concern, Told


@dataclass
class InMemory:
    """`ports.Memory`; it passes the contract suite of the real one."""

    known: dict[Concern, Told] = field(default_factory=dict)

    def told(self) -> Sequence[Told]:
        return sorted(self.known.values(), key=lambda told: told.at)

    def remember(self, told: Told) -> None:
        self.known[told.concern] = told

    def forget(self, concern: Concern) -> None:
        self.known.pop(concern, None)
