"""The product's seam to the journal: the one journal in memory, and a connection to it for each process that breaks.

The truth behind it is never wrong (it has a contract suite of its own); the way to it is. A call may find the journal
away, or write and never hear that it is written.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from orchestrator.errors import JournalUnavailable
from orchestrator.model import Owner, Run, Snapshot, State, Step, Target
from tests.fakes.journal import MemoryJournal
from tests.simulation.laws import Laws
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Fault, Weather

T = TypeVar("T")


class SimJournal:
    """`ports.Journal` for one process."""

    def __init__(
        self, truth: MemoryJournal, process: Process, scheduler: Scheduler, weather: Weather, laws: Laws
    ) -> None:
        self._truth, self._process, self._laws = truth, process, laws
        self._scheduler, self._weather = scheduler, weather

    def open_run(self, run: Run) -> Run:
        return self._write(f"open_run {run.id}", run.id, lambda: self._truth.open_run(run))

    def record(self, run: Run, steps: Sequence[Step]) -> None:
        for step in steps:
            self._laws.journal_called(self._process, run, step.machine)
        self._write(f"record {_listed(steps)}", run.id, lambda: self._truth.record(run, steps))

    def move(self, run: Run, target: Target, steps: Sequence[Step]) -> None:
        machine = target.machine.name
        self._laws.journal_called(self._process, run, machine)
        what = f"move {run.id} {machine} to {target.state} {target.consistency} {_listed(steps)}"
        self._write(what, run.id, lambda: self._truth.move(run, target, steps))

    def take_over(self, run: Run, owner: Owner) -> Run:
        return self._write(f"take_over {run.id}", run.id, lambda: self._truth.take_over(run, owner))

    def run(self, run_id: str) -> Run:
        return self._read("run", lambda: self._truth.run(run_id))

    def open_runs(self, *, apart_from: Collection[str] = ()) -> tuple[Run, ...]:
        return self._read("open_runs", lambda: self._truth.open_runs(apart_from=apart_from))

    def snapshots(
        self, *, job: str | None = None, machine: str | None = None, let_go: bool = False
    ) -> tuple[Snapshot, ...]:
        return self._read("snapshots", lambda: self._truth.snapshots(job=job, machine=machine, let_go=let_go))

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]:
        return self._read("history", lambda: self._truth.history(limit, job=job, machine=machine, state=state))

    def _read(self, what: str, read: Callable[[], T]) -> T:
        self._reach(what)
        return read()

    def _write(self, what: str, run_id: str, write: Callable[[], T]) -> T:
        self._reach(what)
        before = self._truth.runs.get(run_id)
        written = write()
        self._laws.journal_written(before, self._truth.runs[run_id])
        self._scheduler.cross(f"journal.{what} written")
        if self._weather.strikes(Fault.JOURNAL_LOST) or self._weather.journal_is_away:
            raise JournalUnavailable("the connection to the database broke")
        return written

    def _reach(self, what: str) -> None:
        self._scheduler.cross(f"journal.{what}")
        if self._weather.strikes(Fault.JOURNAL_SLOW):
            self._scheduler.pause(self._scheduler.now + self._scheduler.chance.random() * 30)
        if self._weather.journal_is_away or self._weather.strikes(Fault.JOURNAL_REFUSES):
            raise JournalUnavailable("the database cannot be reached")


def _listed(steps: Sequence[Step]) -> str:
    return ", ".join(f"{step.action} {step.outcome}" for step in steps)
