"""A look at every machine: is it frozen, and by whom? It asks, and changes nothing."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress

from orchestrator.belief import left_by
from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.errors import CallError, Unreachable
from orchestrator.evidence import uses_agent
from orchestrator.model import FreezeStatus, Machine, Power, Run, Sight, Sighting, State
from orchestrator.ports import Agent, Connections, Hypervisor, Journal
from orchestrator.recovery import Recovery
from orchestrator.settling import results
from orchestrator.states import held_by

#: Machines that are asked at the same time, and seconds for one to answer: libvirt's own `guest-sync` may take five.
_AT_ONCE, _ANSWER = 50, 6.0
#: Seconds for which the journal's answer is good: a run that begins later may find its agent asked, for that long.
_FRESH = 1.0


class Sweep:
    """Matches what the agents of a host's machines say with the journal."""

    def __init__(self, journal: Journal, connections: Connections, recovery: Recovery, clock: Clock, host: str) -> None:
        self._journal, self._connections, self._recovery = journal, connections, recovery
        self._clock, self._host = clock, host

    def look(self, machines: Sequence[Machine], stop: Stop) -> tuple[Sighting, ...]:
        """What can be seen of each machine now, in the same order; after `stop` nobody is asked any more.

        One that is stuck, or in the window of a run, is not asked: its agent's socket serves one client, and that is
        the run. Raises JournalError.
        """
        opened, seen = _Fresh(self._journal.open_runs, self._clock), dict[str, Sighting]()
        waiting = deque(machines)

        def work_off() -> None:
            with suppress(IndexError):
                while True:
                    machine = waiting.popleft()
                    seen[machine.name] = self._kept(machine, opened()) or self._look(machine)

        with stop.calling(waiting.clear):
            results([Task(self._clock, "look", work_off) for _ in machines[:_AT_ONCE]])
        return tuple(seen[machine.name] for machine in machines if machine.name in seen)

    def _look(self, machine: Machine) -> Sighting:
        try:
            saw = self._ask(machine)
            if saw is Sight.FOREIGN:
                # One of our runs may have begun meanwhile; or one that we saw at work has ended, and this tells.
                return self._kept(machine, self._journal.open_runs()) or Sighting(machine.name, self._ask(machine))
        except CallError as error:
            silent = Sighting(machine.name, Sight.SILENT, detail=str(error))
            return self._kept(machine, self._journal.open_runs()) or silent  # to us, while one of our runs has its ear
        return Sighting(machine.name, saw)

    def _kept(self, machine: Machine, opened: Sequence[Run]) -> Sighting | None:
        """What the journal says of it, when an open run needs its agent."""
        for run in opened:
            target = held_by(run, machine, self._host)
            if target is not None and target.state is State.STUCK:
                return Sighting(machine.name, Sight.STUCK, run.id, target.error)
            if target is not None and uses_agent(run, target):
                overdue = (
                    " cannot be asked from here, and its lease has ended" if self._recovery.is_overdue(run) else ""
                )
                return Sighting(machine.name, Sight.HELD, run.id, f"{run.owner}{overdue}")
        return None

    def _ask(self, machine: Machine) -> Sight:
        """What the machine says by itself; a freeze of ours that is over counts for nothing. Raises CallError."""
        deadline = Deadline.after(self._clock, _ANSWER)
        with ExitStack() as stack:
            hypervisor = self._connections.hypervisor(machine)
            agent = stack.enter_context(closing(self._connections.agent(machine)))
            if hypervisor is not None:
                stack.enter_context(closing(hypervisor))
                if _is_off(hypervisor, deadline):
                    return Sight.OFF
            if not _is_frozen(agent, deadline):
                return Sight.THAWED
            left = left_by(self._journal, machine, self._host, agent, deadline)
            return Sight.FOREIGN if left is None else Sight.THAWED


class _Fresh:
    """The open runs as they are, or were a moment ago: a look at a thousand machines takes its time."""

    def __init__(self, read: Callable[[], Sequence[Run]], clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._runs: Sequence[Run] = ()
        self._stale = Deadline.after(clock, 0)

    def __call__(self) -> Sequence[Run]:
        with self._lock:
            if self._stale.passed:
                self._runs, self._stale = self._read(), Deadline.after(self._clock, _FRESH)
            return self._runs


def _is_off(hypervisor: Hypervisor, deadline: Deadline) -> bool:
    power = hypervisor.power(deadline)
    if power is Power.PAUSED:
        raise Unreachable("the machine is paused: its agent cannot answer")
    return power is Power.OFF


def _is_frozen(agent: Agent, deadline: Deadline) -> bool:
    """Whether an agent of the guest believes so. The second way may lead to another one, or to nobody."""
    frozen = agent.freeze_status(deadline) is FreezeStatus.FROZEN
    if not frozen and agent.other is not None:
        with suppress(CallError):
            frozen = agent.other.freeze_status(deadline) is FreezeStatus.FROZEN
    return frozen
