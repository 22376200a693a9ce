"""A journal in memory: all the promises of `ports.Journal` but the durable one, at a thousandth of the price.

It passes the contract suite of the real one, so that what is shown with it holds for the real one too.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from orchestrator import states
from orchestrator.clock import Clock
from orchestrator.errors import AlreadyRun, JournalError, NotFound, Superseded
from orchestrator.model import Action, Consistency, Outcome, Owner, Run, Snapshot, State, Step, Target

_BEST_FIRST = list(Consistency)


class MemoryJournal:
    """`ports.Journal`, for as long as the program runs. For one thread at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        #: Every run as it stands, by its id.
        self.runs: dict[str, Run] = {}
        #: Every snapshot that was let go.
        self._let_go: dict[tuple[str, str], Snapshot] = {}

    def open_run(self, run: Run) -> Run:
        machines = [target.machine.name for target in run.targets]
        if run.id in self.runs or len(set(machines)) < len(machines):
            raise JournalError(f"run {run.id} is in the journal already, or names a machine twice")
        if run.scheduled_for is not None and any(
            (other.job and other.job.name) == (run.job and run.job.name) and other.scheduled_for == run.scheduled_for
            for other in self.runs.values()
        ):
            raise AlreadyRun(f"the run for {run.scheduled_for} is in the journal")
        holders = {
            target.machine.name: holder
            for target in run.targets
            if target.state in states.OPEN and (holder := self._holder(target.machine.name)) is not None
        }
        group = bool(holders) and run.job is not None and run.job.group
        targets = tuple(_claimed(target, holders, group) for target in run.targets)
        self.runs[run.id] = self._settled(replace(run, targets=targets))
        return self.runs[run.id]

    def record(self, run: Run, steps: Sequence[Step]) -> None:
        self.runs[run.id] = _appended(self._known(run.id), steps)
        for step in steps:
            if step.action is Action.REMOVE:
                self._remove(run.id, step)

    def move(self, run: Run, target: Target, steps: Sequence[Step]) -> None:
        found = self.runs.get(run.id)
        before = found and next((t.state for t in found.targets if t.machine.name == target.machine.name), None)
        if found is None or str(found.owner) != str(run.owner) or (before, target.state) not in states.MOVES:
            raise Superseded(f"run {run.id}: {target.machine.name} cannot become {target.state} by us")
        self.runs[run.id] = self._settled(_appended(found.with_target(target), steps))

    def take_over(self, run: Run, owner: Owner) -> Run:
        found = self.runs.get(run.id)
        if found is None or str(found.owner) != str(run.owner) or found.state not in states.OPEN:
            raise Superseded(f"run {run.id} has ended, or has another owner already")
        self.runs[run.id] = replace(found, owner=owner)
        return self.runs[run.id]

    def run(self, run_id: str) -> Run:
        if run_id in self.runs:
            return self.runs[run_id]
        found = sorted(known for known in self.runs if known.startswith(run_id))
        if len(found) > 1:
            raise NotFound(f"{run_id!r} is the beginning of several runs: {', '.join(found[:5])}")
        return self._known(found[0] if found else run_id)

    def open_runs(self, *, apart_from: Collection[str] = ()) -> tuple[Run, ...]:
        found = [run for run in self.runs.values() if run.state in states.OPEN and run.id not in apart_from]
        return tuple(sorted(found, key=lambda run: (run.started_at, run.id)))

    def snapshots(
        self, *, job: str | None = None, machine: str | None = None, let_go: bool = False
    ) -> tuple[Snapshot, ...]:
        whole = [self._snapshot(run, target) for run in self.runs.values() for target in run.targets if target.snapshot]
        found = [
            replace(
                snapshot,
                run=replace(self.runs[snapshot.run.id], steps=()),
                distrusted=_distrusted(self.runs[snapshot.run.id].steps_of(snapshot.machine.name)),
            )
            for snapshot in (*whole, *self._let_go.values())
            if (job is None or (snapshot.run.job is not None and snapshot.run.job.name == job))
            and (machine is None or machine == snapshot.machine.name)
            and (snapshot.let_go_at is not None or not let_go)
        ]
        return tuple(sorted(found, key=lambda found: (found.created_at, found.run.id, found.machine.name)))

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]:
        found = [
            replace(run, steps=())
            for run in self.runs.values()
            if (job is None or (run.job is not None and run.job.name == job))
            and (machine is None or machine in {target.machine.name for target in run.targets})
            and (state is None or run.state is state)
        ]
        found.sort(key=lambda run: (run.state is State.STUCK, run.started_at, run.id), reverse=True)
        return tuple(found[:limit])

    def _snapshot(self, run: Run, target: Target) -> Snapshot:
        assert target.snapshot is not None
        cuts = [step.at for step in run.steps_of(target.machine.name) if step.action is Action.CUT]
        return Snapshot(run, target.machine, max(cuts, default=self._clock.now()), target.snapshot)

    def _remove(self, run_id: str, step: Step) -> None:
        run, key = self.runs[run_id], (run_id, step.machine)
        target = run.target(step.machine)
        if step.outcome in {Outcome.INTENT, Outcome.DONE} and target.snapshot is not None:
            self._let_go[key] = replace(self._snapshot(run, target), let_go_at=step.at)
            self.runs[run_id] = run.with_target(replace(target, snapshot=None))
        if step.outcome is Outcome.DONE:
            self._let_go.pop(key, None)

    def _known(self, run_id: str) -> Run:
        if run_id not in self.runs:
            raise NotFound(f"there is no run {run_id!r} in the journal")
        return self.runs[run_id]

    def _holder(self, machine: str) -> str | None:
        for run in self.runs.values():
            if run.state in states.OPEN:
                for target in run.targets:
                    if target.machine.name == machine and target.state in states.OPEN:
                        return run.id
        return None

    def _settled(self, run: Run) -> Run:
        """The run with everything that follows from its targets."""
        state = states.worst(target.state for target in run.targets)
        errors = [(target.machine.name, target.error) for target in run.targets if target.error is not None]
        return replace(
            run,
            state=state,
            consistency=max((target.consistency for target in run.targets), key=_BEST_FIRST.index),
            finished_at=None if state in states.OPEN else self._clock.now(),
            error="; ".join(e if len(run.targets) == 1 else f"{name}: {e}" for name, e in errors) or None,
        )


def _distrusted(steps: Sequence[Step]) -> bool:
    ended = {Outcome.DONE, Outcome.FAILED}
    return [step.outcome for step in steps if step.action is Action.EXAMINE and step.outcome in ended][-1:] == [
        Outcome.FAILED
    ]


def _claimed(target: Target, holders: dict[str, str], group: bool) -> Target:
    """The target as a new run gets it: refused where another open run holds its machine."""
    holder = holders.get(target.machine.name)
    if holder is not None:
        return replace(target, state=State.REFUSED, error=f"run {holder} is open on this machine")
    if group and target.state in states.OPEN:
        busy = ", ".join(f"{machine} is in run {holder}" for machine, holder in sorted(holders.items()))
        return replace(target, state=State.REFUSED, error=f"the group is refused as a whole: {busy}")
    return target


def _appended(run: Run, steps: Sequence[Step]) -> Run:
    machines = {target.machine.name for target in run.targets}
    if any(step.machine not in machines for step in steps):
        raise JournalError(f"run {run.id} has no such machine")
    return replace(run, steps=(*run.steps, *steps))
