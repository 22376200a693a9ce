"""A driver whose snapshots are entries in a dictionary: the same contract as the real ones, and breakable."""

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.model import Cut, Progress
from orchestrator.ports import Plan


@dataclass
class Storage:
    """What exists outside the program: it outlives every driver object, as an array or a file system does."""

    #: Names that were prepared and not used up or removed.
    prepared: set[str] = field(default_factory=set)
    #: Names of the snapshots.
    snapshots: set[str] = field(default_factory=set)
    #: Names of what a cut only began: how many looks at each will find it still being copied.
    copies: dict[str, int] = field(default_factory=dict)
    #: Every call of a driver, in order.
    calls: list[str] = field(default_factory=list)
    #: For each method, what happens before its effect and after it, on its next calls.
    before: defaultdict[str, deque[Callable[[], None]]] = field(default_factory=lambda: defaultdict(deque))
    after: defaultdict[str, deque[Callable[[], None]]] = field(default_factory=lambda: defaultdict(deque))


class MemoryDriver:
    """Cuts into a Storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        self._enter("plan")
        return {"name": snapshot}

    def prepare(self, plan: Plan, deadline: Deadline) -> None:
        self._enter("prepare")
        self._storage.prepared.add(plan["name"])
        self._leave("prepare")

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        self._enter("cut")
        self._storage.prepared.remove(plan["name"])
        self._storage.snapshots.add(plan["name"])
        self._leave("cut")
        return {"stored": plan["name"]}

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        self._enter("happened")
        return {"stored": plan["name"]} if plan["name"] in self._storage.snapshots else None

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        self._enter("discard")
        self._storage.prepared.discard(plan["name"])
        self._leave("discard")

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        yield "disk", Progress(0, 100, ended=False)
        self._enter("remove")
        self._storage.snapshots.discard(made["stored"])
        self._leave("remove")
        yield "disk", Progress(100, 100, ended=True)

    def close(self) -> None:
        pass

    def _enter(self, method: str) -> None:
        self._storage.calls.append(method)
        if self._storage.before[method]:
            self._storage.before[method].popleft()()

    def _leave(self, method: str) -> None:
        if self._storage.after[method]:
            self._storage.after[method].popleft()()


class CopyingMemoryDriver(MemoryDriver):
    """Cuts that only begin a copy, which a look ends, and which counts when it is published."""

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        self._enter("cut")
        self._storage.prepared.remove(plan["name"])
        self._storage.copies[plan["name"]] = 1
        self._leave("cut")
        return {}

    def copied(self, plan: Plan, deadline: Deadline) -> Progress:
        self._enter("copied")
        left = self._storage.copies[plan["name"]]
        self._storage.copies[plan["name"]] = max(0, left - 1)
        self._leave("copied")
        return Progress(0 if left else 100, 100, ended=not left)

    def publish(self, plan: Plan, cut: Cut, deadline: Deadline) -> Mapping[str, Any]:
        self._enter("publish")
        assert not self._storage.copies.pop(plan["name"])
        self._storage.snapshots.add(plan["name"])
        self._leave("publish")
        return {"stored": plan["name"], "consistency": cut.consistency}

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        super().discard(plan, deadline)
        self._storage.copies.pop(plan["name"], None)
