"""A journal with witnesses: they are told of everything that it has taken, whoever's run it is.

Nothing is written to the journal between freeze and thaw, so no witness is ever told within a window.
"""

from collections.abc import Collection, Sequence
from contextlib import suppress

from orchestrator.model import Owner, Run, Snapshot, State, Step, Target
from orchestrator.ports import Journal, Witness


class WitnessedJournal:
    """`ports.Journal`, by the one that it is made over."""

    def __init__(self, journal: Journal, witnesses: Sequence[Witness]) -> None:
        self._journal, self._witnesses = journal, witnesses

    def open_run(self, run: Run) -> Run:
        """See `ports.Journal`. A target that was turned away is one that was moved."""
        opened = self._journal.open_run(run)
        self._tell(opened, None, run.steps)
        for target in opened.targets:
            if target.state is State.REFUSED:
                self._tell(opened, target, ())
        return opened

    def record(self, run: Run, steps: Sequence[Step]) -> None:
        """See `ports.Journal`."""
        self._journal.record(run, steps)
        self._tell(run, None, steps)

    def move(self, run: Run, target: Target, steps: Sequence[Step]) -> None:
        """See `ports.Journal`."""
        self._journal.move(run, target, steps)
        self._tell(run, target, steps)

    def take_over(self, run: Run, owner: Owner) -> Run:
        """See `ports.Journal`."""
        return self._journal.take_over(run, owner)

    def run(self, run_id: str) -> Run:
        """See `ports.Journal`."""
        return self._journal.run(run_id)

    def open_runs(self, *, apart_from: Collection[str] = ()) -> tuple[Run, ...]:
        """See `ports.Journal`."""
        return self._journal.open_runs(apart_from=apart_from)

    def snapshots(
        self, *, job: str | None = None, machine: str | None = None, let_go: bool = False
    ) -> tuple[Snapshot, ...]:
        """See `ports.Journal`."""
        return self._journal.snapshots(job=job, machine=machine, let_go=let_go)

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]:
        """See `ports.Journal`."""
        return self._journal.history(limit, job=job, machine=machine, state=state)

    def _tell(self, run: Run, target: Target | None, steps: Sequence[Step]) -> None:
        for witness in self._witnesses:
            with suppress(Exception):  # A defect in who only looks on must not end a run.
                witness(run, target, steps)
