"""The scheduler's memory, for as long as the program runs."""

from dataclasses import dataclass, field

from orchestrator.model import Horizon, Pausable, Pause


@dataclass
class MemorySchedules:
    """`ports.Schedules`; it passes the contract suite of the real one."""

    known: dict[str, Horizon] = field(default_factory=dict)
    paused: dict[tuple[Pausable, str], Pause] = field(default_factory=dict)

    def horizons(self) -> dict[str, Horizon]:
        return dict(self.known)

    def decided(self, job: str, horizon: Horizon) -> None:
        self.known[job] = horizon

    def pauses(self) -> tuple[Pause, ...]:
        return tuple(pause for _, pause in sorted(self.paused.items()))

    def pause(self, pause: Pause) -> bool:
        return self.paused.setdefault((pause.kind, pause.name), pause) is pause

    def resume(self, kind: Pausable, name: str) -> bool:
        return self.paused.pop((kind, name), None) is not None
