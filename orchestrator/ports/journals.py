"""The durable memory."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.answers import Filter, Frozen, LastGood, Mark, Overview, Tally, Unquiesced, Window
from orchestrator.model import Horizon, Owner, Pausable, Pause, Run, Snapshot, State, Step, Target


class Journal(Protocol):
    """The durable memory. When a method returns, what it wrote survives the power cord.

    Every method raises JournalUnavailable when the database cannot be reached or written.
    """

    def open_run(self, run: Run) -> Run:
        """Write a new run with its targets.

        Returns it as it stands in the journal: a target whose machine is in another open run is `refused` there,
        with that run's id in its error, and with `run.job.group` so are all the others. Raises AlreadyRun when the job
        has a run for the same scheduled time, whatever became of it.
        """
        ...

    def record(self, run: Run, steps: Sequence[Step]) -> None:
        """Append steps to a run."""
        ...

    def move(self, run: Run, target: Target, steps: Sequence[Step]) -> None:
        """Move one target to `target.state`, with all its other fields, and append steps: all or nothing.

        The move lands only from a state that `states.MOVES` permits and while `run.owner` owns the run; it raises
        Superseded otherwise, and then nothing was written. The run's own state, consistency, error and
        end follow from its targets in the same transaction.
        """
        ...

    def take_over(self, run: Run, owner: Owner) -> Run:
        """Give an open run to a new owner, if `run.owner` still owns it. Raises Superseded otherwise."""
        ...

    def run(self, run_id: str) -> Run:
        """One run with its steps; an unambiguous beginning of the id will do. Raises NotFound."""
        ...

    def open_runs(self, *, apart_from: Collection[str] = ()) -> tuple[Run, ...]:
        """All runs that have an open target, but those with these ids, with their steps, oldest first."""
        ...

    def snapshots(
        self, *, job: str | None = None, machine: str | None = None, let_go: bool = False
    ) -> tuple[Snapshot, ...]:
        """What runs have made and what is not certainly gone, of one job or machine or of all, oldest first. With
        `let_go` only what is being removed.

        A target tells of its snapshot until `record` is given the intent to remove it; from then on it has a
        `let_go_at` here, until `record` is given that the removal is done.
        """
        ...

    def history(
        self,
        limit: int,
        *,
        job: str | None = None,
        machine: str | None = None,
        state: State | None = None,
    ) -> tuple[Run, ...]:
        """The newest runs without their steps: stuck ones first, then newest first."""
        ...


class Schedules(Protocol):
    """What the scheduler remembers beside the runs, with the journal's guarantees and errors."""

    def horizons(self) -> Mapping[str, Horizon]:
        """Of each job that was ever scheduled, up to when its times are decided."""
        ...

    def decided(self, horizons: Mapping[str, Horizon]) -> None:
        """Remember these horizons, by job, in place of those before."""
        ...

    def passed(self, job: str, until: datetime) -> None:
        """Move a job's horizon there, unless it is there or beyond."""
        ...

    def pauses(self) -> tuple[Pause, ...]:
        """All that is paused, by kind and name."""
        ...

    def pause(self, pause: Pause) -> bool:
        """Remember a pause; say whether it is new. One that is there stays as it is."""
        ...

    def resume(self, kind: Pausable, name: str) -> bool:
        """Forget a pause; say whether there was one."""
        ...


class Ledger(Protocol):
    """The history as it is leafed through, with the journal's errors. Its price is that of what is shown."""

    def page(self, which: Filter, before: Mark | None, limit: int) -> tuple[Run, ...]:
        """The newest runs that `which` lets through and that come after the mark `before`, without their steps.

        The newest is first. A run that begins meanwhile changes nothing on the pages that follow.
        """
        ...

    def overview(self, since: datetime, failures: int) -> Overview:
        """What is open, the last `failures` that failed, how often each job's runs since then were done, and the last
        good run of each machine: all at one moment.
        """
        ...

    def windows(self, machine: str, limit: int) -> Sequence[Window]:
        """The last windows of a machine, at most `limit`: oldest first."""
        ...


class Statistics(Protocol):
    """What the history answers as a whole, with the journal's errors."""

    def tally(self, since: datetime) -> Sequence[Tally]:
        """How many runs of each job that began since then are in each state, at each consistency."""
        ...

    def unquiesced(self, since: datetime, limit: int) -> Sequence[Unquiesced]:
        """The cuts since then that are not proven to be frozen throughout: the newest first, at most `limit`."""
        ...

    def frozen(self, since: datetime) -> Sequence[Frozen]:
        """How long each guest was frozen since then: the longest first."""
        ...

    def last_good(self) -> Sequence[LastGood]:
        """The newest good run of each machine that has one."""
        ...

    def forget(self, before: datetime) -> int:
        """Delete the runs that ended before then, and return how many. What is open or stuck stays, and what made a
        snapshot that is not gone: only what the journal knows is ever removed.
        """
        ...

    def vacuum(self) -> None:
        """Give the space of what was deleted back to the file system."""
        ...
