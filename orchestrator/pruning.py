"""Remove what retention does not keep: the intent into the history of the run that made it, then the removal.

It may be killed at any point and run again. From the intent on a snapshot counts as gone, whatever of it is still
there, and every later pruning of its job goes on with its removal.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import groupby

from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.copying import figures_of
from orchestrator.errors import JournalError, QuiesceError, Rejected
from orchestrator.model import Action, Consistency, Fate, Job, Machine, Pruned, Snapshot, State
from orchestrator.ports import Connections, Journal, Observer, RemovingDriver
from orchestrator.recorder import Recorder
from orchestrator.retention import Decision, Point, decide, removal_order
from orchestrator.states import OPEN

#: Seconds for one removal. A merge copies what was written since the cut, so it may be long; one that is cut off here
#: is taken back, and begun anew by the next pruning.
_REMOVE = 24 * 3600.0

LET_GO = "let go already, and not yet gone"


class Pruning:
    """Prunes the snapshots of jobs, machine by machine, one after the other."""

    def __init__(
        self,
        journal: Journal,
        connections: Connections,
        clock: Clock,
        machines: Mapping[str, Machine],
        observer: Observer | None,
        stop: Stop,
    ) -> None:
        self._journal, self._connections, self._clock, self._machines = journal, connections, clock, machines
        self._observer, self._stop = observer, stop

    def look(self, job: Job, machine: str | None = None) -> tuple[Pruned, ...]:
        """What is kept of a job's snapshots, and what is due, each with its reasons. Raises JournalError."""
        assert job.retention is not None
        looked: list[Pruned] = []
        for snapshots in _by_machine(self._journal.snapshots(job=job.name, machine=machine)):
            whole = {snapshot.run.id: snapshot for snapshot in snapshots if snapshot.let_go_at is None}
            looked += [Pruned(snapshot, Fate.DUE, (LET_GO,)) for snapshot in snapshots if snapshot.let_go_at]
            decisions = decide([_point(snapshot) for snapshot in whole.values()], job.retention, self._clock.now())
            looked += [_pruned(whole[decision.point.run_id], decision) for decision in decisions]
        return tuple(looked)

    def prune(self, job: Job, machine: str | None = None) -> tuple[Pruned, ...]:
        """Remove what is due, and say what became of each snapshot. One that cannot be removed holds up no other.

        A machine that is in an open run is left alone. Raises JournalError.
        """
        looked = self.look(job, machine)
        ended = {id(pruned): self._end(job, pruned) for pruned in _in_order(looked)}
        return tuple(ended.get(id(pruned), pruned) for pruned in looked)

    def _end(self, job: Job, due: Pruned) -> Pruned:
        """Remove one snapshot, and say what became of it."""
        if self._stop.requested:
            return replace(due, error="ended by its user before this one")
        name = due.snapshot.machine.name
        for run in self._journal.open_runs():
            if name in {target.machine.name for target in run.targets if target.state in OPEN}:
                return replace(due, error=f"{name} is in the open run {run.id}: the next pruning removes it")
        try:
            self._remove(job, due)
        except JournalError:
            raise
        except QuiesceError as error:
            return replace(due, fate=Fate.FAILED, error=str(error))
        return replace(due, fate=Fate.REMOVED)

    def _remove(self, job: Job, due: Pruned) -> None:
        snapshot = due.snapshot
        recorder = Recorder(snapshot.machine.name, self._clock, self._observer)
        with ExitStack() as stack:
            driver = self._driver(job, snapshot, stack)
            recorder.intend(Action.REMOVE, snapshot=snapshot.run.snapshot_name, reason="; ".join(due.reasons))
            self._record(snapshot, recorder)
            try:
                with recorder.act(Action.REMOVE):
                    self._carry_out(driver, snapshot, recorder)
            except JournalError:
                raise  # What it did not take may be there all the same: it is not written twice.
            except QuiesceError:
                self._record(snapshot, recorder)
                raise
            self._record(snapshot, recorder)

    def _carry_out(self, driver: RemovingDriver, snapshot: Snapshot, recorder: Recorder) -> None:
        """The removal itself, with steps for each disk that is merged."""
        with closing(driver.remove(snapshot.made, Deadline.after(self._clock, _REMOVE))) as removal:
            for disk, stages in groupby(removal, key=lambda stage: stage[0]):
                recorder.intend(Action.MERGE, disk=disk)
                self._record(snapshot, recorder)
                began = self._clock.monotonic()
                with recorder.act(Action.MERGE, disk=disk) as figures:
                    for _, progress in stages:
                        figures |= figures_of(progress, self._clock.monotonic() - began)
                        recorder.tell(Action.MERGE, **figures)
                        if self._stop.requested:
                            raise QuiesceError("ended by its user; the next pruning goes on with it")

    def _driver(self, job: Job, snapshot: Snapshot, stack: ExitStack) -> RemovingDriver:
        """The driver that removes a snapshot: of the job as it is configured, unless it has another driver by now."""
        made_by = snapshot.run.job
        assert made_by is not None
        machine = self._machines.get(snapshot.machine.name, snapshot.machine)
        hypervisor = self._connections.hypervisor(machine)
        if hypervisor is not None:
            stack.enter_context(closing(hypervisor))
        configured = job if job.driver == made_by.driver else made_by
        driver = stack.enter_context(
            closing(self._connections.driver(configured, machine, snapshot.run.id, hypervisor))
        )
        if not isinstance(driver, RemovingDriver):
            raise Rejected(f"the driver {configured.driver} cannot remove what it made")
        return driver

    def _record(self, snapshot: Snapshot, recorder: Recorder) -> None:
        steps = recorder.unjournaled()
        self._journal.record(snapshot.run, steps)
        recorder.journaled(steps)


def _by_machine(snapshots: Sequence[Snapshot]) -> Iterator[list[Snapshot]]:
    groups = defaultdict(list)
    for snapshot in snapshots:
        groups[snapshot.machine.name].append(snapshot)
    yield from groups.values()


def _in_order(looked: Sequence[Pruned]) -> Iterator[Pruned]:
    """What is due, in the order in which it can be removed."""
    due = {(p.snapshot.machine.name, p.snapshot.run.id): p for p in looked if p.fate is Fate.DUE}
    for snapshots in _by_machine([pruned.snapshot for pruned in due.values()]):
        for point in removal_order([_point(snapshot) for snapshot in snapshots]):
            yield due[snapshots[0].machine.name, point.run_id]


def _pruned(snapshot: Snapshot, decision: Decision) -> Pruned:
    return Pruned(snapshot, Fate.KEPT if decision.keep else Fate.DUE, decision.reasons)


def _point(snapshot: Snapshot) -> Point:
    """The point in time that a snapshot is. It is good when its run was, or died only after the proof."""
    target = snapshot.run.target(snapshot.machine.name)
    proven = target.consistency in {Consistency.APPLICATION, Consistency.FILESYSTEM}
    return Point(
        snapshot.run.id,
        snapshot.created_at,
        good=target.state is State.DONE or proven,
        parent=snapshot.made.get("parent"),
    )
