"""A guard that only remembers what it is armed for, in memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from orchestrator.errors import NoGuard
from orchestrator.model import Machine, Step

#: A machine in a run: the id of the run, and the name of the machine.
Key = tuple[str, str]


@dataclass
class MemoryGuard:
    """What is armed and what is left over, whatever process looks at it."""

    #: What was said of each machine that is armed, in order: seconds, and whether its freeze was answered.
    armed: dict[Key, list[tuple[float | None, bool]]] = field(default_factory=dict)
    #: The records, by what they are of; there from arming to release, or until they are removed.
    records: dict[Key, list[Step]] = field(default_factory=dict)
    #: Why it cannot be armed; None: it can.
    refuses: str | None = None

    def prepare(self, machines: Sequence[Machine]) -> None:
        """There is nothing to start, and nothing to load."""

    def arm(self, run_id: str, machine: Machine) -> "MemoryLease":
        if self.refuses is not None:
            raise NoGuard(self.refuses)
        key = run_id, machine.name
        self.armed[key], self.records[key] = [], []
        return MemoryLease(self, key)

    @contextmanager
    def record(self, run_id: str, machine: str) -> "Iterator[MemoryRecord]":
        yield MemoryRecord(self, (run_id, machine))


@dataclass
class MemoryLease:
    guard: MemoryGuard
    key: Key

    def within(self, seconds: float | None, *, answered: bool = False) -> None:
        if self.key in self.guard.armed:  # else it was settled by another process
            self.guard.armed[self.key].append((seconds, answered))

    def release(self) -> None:
        MemoryRecord(self.guard, self.key).remove()


@dataclass
class MemoryRecord:
    guard: MemoryGuard
    key: Key

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(self.guard.records.get(self.key, ()))

    def dismiss(self) -> None:
        self.guard.armed.pop(self.key, None)

    def remove(self) -> None:
        self.guard.armed.pop(self.key, None)
        self.guard.records.pop(self.key, None)
