"""The guards of all processes: the product's own, each in a process that may die or hang like any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator import guard_main
from orchestrator.guard.leases import ProcessGuard
from orchestrator.guard.watch import Charge, Watch, until_needed
from orchestrator.guard.wire import Armed, Key, Message, Release, Within
from orchestrator.model import Machine
from orchestrator.ports import Agent
from tests.simulation.clock import SimClock
from tests.simulation.host import Socket
from tests.simulation.scheduler import Process, Scheduler

#: Seconds for a guard to come up, at most.
_START = 0.3


class Guards:
    """How a guard is started, and what is known of it."""

    def __init__(
        self, scheduler: Scheduler, process: Callable[[str], Process], agent: Callable[[Process, Machine], Agent]
    ) -> None:
        self._scheduler, self._process, self._agent = scheduler, process, agent
        #: What a living orchestrator could not thaw, and said so.
        self.stuck: set[Key] = set()
        #: By the number of the orchestrator and the machine, all that were armed for it, the newest last.
        self._armed: dict[tuple[int, Key], list[tuple[Process, Watch]]] = {}

    def start(self, orchestrator: Process, link: Socket) -> Process:
        """A guard of that process begins, with its own end of the socket."""
        guard = self._process("guard")
        guard.serves = True
        guard.heirs.append(link.close)
        clock = SimClock(self._scheduler, guard)
        watch = _Watch(clock, lambda machine: self._agent(guard, machine))
        watch.armed = lambda key: self._armed.setdefault((orchestrator.number, key), []).append((guard, watch))

        def main() -> None:
            with link:
                charges = until_needed(watch, link, orchestrator)  # type: ignore[arg-type] # this host's own
            guard_main.thaw_all(charges, clock)
            self._scheduler.exit(guard)

        self._scheduler.spawn(guard, "main", main, self._scheduler.now + self._scheduler.chance.random() * _START)
        return guard

    def last(self, orchestrator: Process, key: Key) -> tuple[Process | None, Charge | None]:
        """The guard of that process that was armed last for a machine, and what it knows of it now."""
        if (orchestrator.number, key) not in self._armed:
            return None, None
        guard, watch = self._armed[orchestrator.number, key][-1]
        return guard, watch.charges.get(key)


class SimGuard(ProcessGuard):
    """The orchestrator's end: the product's, which also says what was given up as stuck, to be tried again later."""

    def __init__(self, folder: Path, clock: SimClock, stuck: set[Key]) -> None:
        super().__init__(folder, clock, lambda: [["guard"], ["guard"]])
        self._stuck = stuck

    def tell(self, lease: Any, message: Within | Release) -> None:
        if isinstance(message, Within) and message.at is None:
            self._stuck.add(message.key)
        super().tell(lease, message)


class _Watch(Watch):
    """The product's, which also says that it was armed."""

    armed: Callable[[Key], None]

    def hear(self, message: Message) -> Armed | None:
        answer = super().hear(message)
        if answer is not None and answer.error is None:
            self.armed(answer.key)
        return answer
