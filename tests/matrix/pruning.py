"""The matrix of pruning and merging: one ended at every boundary, and the next one at every one of its own.

Two of three snapshots are let go, each of two overlays that are merged while the machine runs. The machine is layers of
blocks in memory; everything between it and the journal is the product's own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, cast

from orchestrator.clock import Stop
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.errors import JournalUnavailable, OutcomeUnknown, QuiesceError, Rejected
from orchestrator.model import Action, Job, Machine, Outcome, Retention, State, Step
from orchestrator.ports import Connections, Driver, DriverContext, Hypervisor, Journal
from orchestrator.pruning import Pruning
from tests.fakes.clock import SteppedClock
from tests.fakes.journal import MemoryJournal
from tests.fakes.merges import DISKS, Blocks, Layers, MemoryMerges, machine, made, overlay
from tests.journals import NOW, a_run

CONTENTS: Sequence[Blocks] = [{0: 1, 1: 1, 2: 1}, {0: 2, 1: 2}, {1: 3, 3: 3}, {2: 4}]
JOB = Job("nightly", ("vm",), "external-snapshot", retention=Retention(keep_last=1))


class Column(StrEnum):
    """What is done at a boundary."""

    ALONE = "SIGKILL"
    AGAIN = "the next pruning ended too"
    CUT = "a cut comes before the next"
    FAULT = "the call is refused, or unheard"


class Killed(BaseException):
    """The process ends here."""


@dataclass(frozen=True)
class Case:
    """What is tried: the crossings at which the first and the second pruning are ended, and what else happens."""

    end: int | None = None
    second_end: int | None = None
    #: The crossing whose call is refused, or goes unheard.
    fault: int | None = None
    #: A run cuts the machine after the first pruning.
    cut: bool = False


class Process:
    """One process that prunes: it crosses a boundary before and after each of its calls."""

    def __init__(self, end: int | None = None, fault: int | None = None) -> None:
        self.crossed: list[str] = []
        self.dead = False
        self._end, self._fault = end, fault

    def seam(self, owner: object, name: str) -> Any:
        """Something whose calls cross this process's boundaries."""
        return _Seam(owner, name, self)

    def cross(self, what: str, when: str) -> None:
        self.crossed.append(f"{when} {what}")
        if len(self.crossed) == self._end:
            self.dead = True
            raise Killed
        if len(self.crossed) == self._fault:
            journal, before = what.startswith("journal"), when == "before"
            raise JournalUnavailable("away") if journal else Rejected("no") if before else OutcomeUnknown("lost")


class _Seam:
    def __init__(self, owner: object, name: str, process: Process) -> None:
        self._owner, self._name, self._process = owner, name, process

    def __getattr__(self, call: str) -> Any:
        real = getattr(self._owner, call)
        return partial(self._crossing, real, call) if callable(real) else real

    def _crossing(self, real: Callable[..., object], call: str, *arguments: Any, **keys: Any) -> object:
        if self._process.dead:
            return None  # a `finally` on the way out: who was really killed has none
        what = f"{self._name}.{call}"
        if call == "record":
            what += " " + ", ".join(f"{step.action} {step.outcome}" for step in arguments[1])
        self._process.cross(what, "before")
        result = real(*arguments, **keys)
        self._process.cross(what, "after")
        return result


class World:
    """A machine with three snapshots, and the journal of the runs that made them."""

    def __init__(self) -> None:
        self.clock = SteppedClock()
        self.journal, self.merges = MemoryJournal(self.clock), machine(CONTENTS)
        for turn in (1, 2, 3):
            self._journal_a_run(turn)
        self.seen, self.points = self._content(), {turn: self._point(turn) for turn in (1, 2, 3)}

    def prune(self, process: Process) -> None:
        """Prune, as far as that goes."""
        with suppress(Killed, QuiesceError):
            self._pruning(process).prune(JOB)
        self.check()

    def cut(self) -> None:
        """A run cuts the machine: nothing may be merged by then."""
        self._pruning(Process()).give_way(["vm"])
        assert not self.merges.jobs, "a merge is in the cut's way"
        self.merges.layers = {disk: {overlay(disk, 4): {}, **files} for disk, files in self.merges.layers.items()}
        self._journal_a_run(4)
        self.points[4] = self._point(4)

    def check(self) -> None:
        """Fail unless the machine sees what it saw, and every point in time that was not let go is what it was."""
        assert self._content() == self.seen, "the machine sees something else"
        for snapshot in self.journal.snapshots():
            if snapshot.let_go_at is None:
                turn = int(snapshot.run.id)
                assert self._point(turn) == self.points[turn], f"the point in time {turn} was harmed"

    def check_end(self) -> None:
        """Fail unless nothing is left of what was let go, and the history tells it."""
        self.check()
        kept = [snapshot.run.id for snapshot in self.journal.snapshots()]
        assert kept == [max(self.journal.runs)], f"kept: {kept}"
        assert not self.merges.jobs, "a merge goes on"
        for run_id, run in self.journal.runs.items():
            ours = {overlay(disk, int(run_id)) for disk in DISKS}
            gone = not ours & {file for files in self.merges.layers.values() for file in files}
            assert gone == (run_id not in kept), f"the overlays of {run_id}: gone is {gone}"
            assert not gone or ours <= set(self.merges.closed), f"the overlays of {run_id} are open"
            told = [step.outcome for step in run.steps if step.action is Action.REMOVE]
            assert (told[-1:] == [Outcome.DONE]) == gone, f"told of {run_id}: {told}"

    def _pruning(self, process: Process) -> Pruning:
        connections = cast(Connections, _Connections(process.seam(self.merges, "machine"), self.clock))
        journal = cast(Journal, process.seam(self.journal, "journal"))
        return Pruning(journal, connections, self.clock, {"vm": Machine("vm")}, None, Stop())

    def _journal_a_run(self, turn: int) -> None:
        run = self.journal.open_run(replace(a_run(str(turn), "vm", at=NOW + timedelta(hours=turn)), job=JOB))
        self.clock.step(3600)
        for state in (State.RUNNING, State.DONE):
            self.journal.move(run, replace(run.target("vm"), state=state, snapshot=made(turn)), [_cut(self.clock)])

    def _content(self) -> Mapping[str, Blocks]:
        return {disk: self.merges.content(disk, next(iter(files))) for disk, files in self.merges.layers.items()}

    def _point(self, turn: int) -> Mapping[str, Blocks]:
        """What each disk's file below the overlay of that run holds."""
        found = {}
        for disk, layers in self.merges.layers.items():
            files = [*layers]
            found[disk] = self.merges.content(disk, files[files.index(overlay(disk, turn)) + 1])
        return found


class _Connections:
    """The ways of one process to the machine."""

    def __init__(self, merges: MemoryMerges, clock: SteppedClock) -> None:
        self._merges, self._clock = merges, clock

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        return None

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        return ExternalSnapshot(DriverContext(machine, job.name, run_id, {}, Layers(self._merges), self._clock))


@dataclass(frozen=True)
class Place:
    """A case, and the cell of the table that it belongs to."""

    boundary: str
    column: Column
    case: Case


@dataclass(frozen=True)
class Seen:
    """What came of it."""

    #: What did not hold, in words.
    broken: str | None
    #: Which boundaries both prunings have crossed.
    first: Sequence[str]
    second: Sequence[str]


def live(case: Case) -> Seen:
    """Let the case happen."""
    world, first, second = World(), Process(case.end, case.fault), Process(case.second_end)
    broken = None
    try:
        world.prune(first)
        if case.cut:
            world.cut()
        world.prune(second)
        world.prune(Process())
        world.check_end()
    except AssertionError as error:
        broken = str(error)
    return Seen(broken, first.crossed, second.crossed)


def places() -> Iterator[Place]:
    """Every case."""
    for end, boundary in enumerate(live(Case()).first, 1):
        yield Place(boundary, Column.ALONE, Case(end))
        yield Place(boundary, Column.CUT, Case(end, cut=True))
        yield Place(boundary, Column.FAULT, Case(fault=end))
        for second in range(1, len(live(Case(end)).second) + 1):
            yield Place(boundary, Column.AGAIN, Case(end, second))


def cell(seen: Sequence[Seen]) -> str:
    """What was seen in one or more cases."""
    broken = next((one.broken for one in seen if one.broken is not None), None)
    return f"held in {len(seen)}" if broken is None else f"**BROKEN**: {broken}"


def _cut(clock: SteppedClock) -> Step:
    return Step("vm", Action.CUT, Outcome.DONE, clock.now(), clock.monotonic())
