"""The scheduler's memory, for as long as the program runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.model import Horizon, Pausable, Pause


@dataclass
class MemorySchedules:
    """`ports.Schedules`; it passes the contract suite of the real one."""

    known: dict[str, Horizon] = field(default_factory=dict)
    paused: dict[tuple[Pausable, str], Pause] = field(default_factory=dict)

    def horizons(self) -> dict[str, Horizon]:
        return dict(self.known)

    def decided(self, horizons: Mapping[str, Horizon]) -> None:
        self.known |= horizons

    def passed(self, job: str, until: datetime) -> None:
        if job in self.known and self.known[job].until < until:
            self.known[job] = replace(self.known[job], until=until)

    def pauses(self) -> tuple[Pause, ...]:
        return tuple(pause for _, pause in sorted(self.paused.items()))

    def pause(self, pause: Pause) -> bool:
        return self.paused.setdefault((pause.kind, pause.name), pause) is pause

    def resume(self, kind: Pausable, name: str) -> bool:
        return self.paused.pop((kind, name), None) is not None
