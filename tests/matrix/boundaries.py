"""The boundaries of a run: the points before and after each of its calls that cross a seam.

Nobody lists them: a run is let live, and says which it has crossed.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from tests.simulation.scheduler import Scheduler
from tests.simulation.weather import Fault, Weather


@dataclass(frozen=True)
class Boundary:
    """A point that a process crosses; the product is ended there before it goes on."""

    #: Which call, and on which side of it; with its number when there are several such.
    name: str
    #: Its number among all points at which the process can be ended.
    crossing: int


class Recording(Scheduler):
    """A scheduler that remembers the boundaries that each process has crossed."""

    def __init__(self, chance: Random, trace: list[str] | None = None) -> None:
        super().__init__(chance, trace)
        #: By the number of the process.
        self.boundaries: dict[int, list[Boundary]] = {}
        self._seen: Counter[tuple[int, str]] = Counter()
        #: Where each thread was last.
        self._last: dict[object, str] = {}

    def cross(self, what: str) -> None:
        name = _name(what)
        if name is not None and not self._over:
            process = self.process
            self._seen[process.number, name] += 1
            count = self._seen[process.number, name]
            name = name if count == 1 else f"{name}, {count}"
            self._last[self.thread] = name
            self.boundaries.setdefault(process.number, []).append(Boundary(name, process.crossings + 1))
        super().cross(what)

    def is_first(self) -> bool:
        """Whether it is the first process that runs now, and not the world or another one."""
        return self._current is not None and self._current.process.number == 1

    def last(self) -> str | None:
        """The boundary that the thread that runs now has crossed last."""
        return self._last.get(self.thread)


@dataclass(frozen=True)
class Trouble:
    """A fault at one boundary of the run."""

    fault: Fault
    boundary: str


class ScriptedWeather(Weather):
    """Nothing goes wrong but the one thing that the script says, and that once, in the first process."""

    def __init__(self, chance: Random, script: Trouble | None) -> None:
        super().__init__(chance)
        self.clear()
        self.doom = self.hang = self.loss = self.strangers = 0.0
        self.outages = 0
        self._script = script
        self.scheduler: Recording

    def strikes(self, fault: Fault, times: float = 1) -> bool:
        script = self._script
        if script is None or fault is not script.fault or not self.scheduler.is_first():
            return False
        if self.scheduler.last() != script.boundary:
            return False
        self._script = None
        return True


def troubles(boundaries: Sequence[Boundary]) -> list[Trouble]:
    """Everything that can go wrong with one of the calls that were recorded."""
    return [
        Trouble(fault, boundary.name)
        for boundary in boundaries
        for pattern, faults in _FAULTS.items()
        if re.match(pattern, boundary.name)
        for fault in faults
    ]


#: What can go wrong with which call.
_FAULTS = {
    "before agent.": [Fault.REPLY_LOST],
    "before agent.freeze": [Fault.LATE],
    "before driver.": [Fault.DRIVER_REJECTS],
    "before driver.cut": [Fault.DRIVER_HANGS, Fault.DRIVER_LATE],
    "after driver.": [Fault.DRIVER_LOST],
    "before journal.": [Fault.JOURNAL_REFUSES],
    "after journal.": [Fault.JOURNAL_LOST],
}

#: How the simulation's crossings are called; what is none of these crosses no seam.
_NAMES: list[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]] = [
    (re.compile(r"vm\d\.([\w-]+) -> .*"), r"after agent.\1"),
    (re.compile(r"vm\d\.([\w-]+)"), r"before agent.\1"),
    (re.compile(r"vm\d driver\.(\w+) done"), r"after driver.\1"),
    (re.compile(r"vm\d driver\.(\w+)"), r"before driver.\1"),
    (re.compile(r"journal\.move \S+ \S+ to (\w+) .* written"), r"after journal.move to \1"),
    (re.compile(r"journal\.move \S+ \S+ to (\w+) .*"), r"before journal.move to \1"),
    (re.compile(r"journal\.(\w+).* written"), r"after journal.\1"),
    (re.compile(r"journal\.(\w+).*"), r"before journal.\1"),
    (re.compile(r"guard\.send (\w+)"), lambda found: f"before guard.{found[1].lower()}"),
    (re.compile(r"guard\.recv (\w+)"), lambda found: f"after guard.{found[1].lower()}"),
    (re.compile(r"guard\.start"), "before guard.start"),
    (re.compile(r"record\.(\w+)"), r"before record.\1"),
]


def _name(what: str) -> str | None:
    for pattern, name in _NAMES:
        if (found := pattern.fullmatch(what)) is not None:
            return name(found) if callable(name) else found.expand(name)
    return None
