"""Remove what retention does not keep: the intent into the history of the run that made it, then the removal.

It may be killed at any point and run again. From the intent on a snapshot counts as gone, whatever of it is still
there, and every later pruning of its job goes on with its removal.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from itertools import groupby
from zoneinfo import ZoneInfo

from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.copying import figures_of
from orchestrator.errors import CallError, ConfigError, JournalError, QuiesceError, Rejected
from orchestrator.model import Action, Fate, Job, Machine, Pruned, Snapshot, State
from orchestrator.ports import Connections, Driver, Journal, MergingDriver, Observer, RemovingDriver
from orchestrator.recorder import Recorder
from orchestrator.retention import Decision, Point, decide, removal_order
from orchestrator.states import OPEN

#: Seconds for one removal. A merge copies what was written since the cut, so it may be long; one that is cut off here
#: is taken back, and begun anew by the next pruning.
_REMOVE = 24 * 3600.0

#: Seconds for a merge to be cancelled before a cut.
_GIVE_WAY = 10.0

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
            points = [_point(snapshot) for snapshot in whole.values()]
            others = self._others(job, snapshots)
            zone = ZoneInfo(job.timezone) if job.timezone is not None else None
            decisions = decide(points, job.retention, self._clock.now(), zone, others)
            looked += [_pruned(whole[decision.point.run_id], decision) for decision in decisions]
        return tuple(looked)

    def _others(self, job: Job, snapshots: Sequence[Snapshot]) -> list[Point]:
        """What other jobs have made of the same machine: backups of several jobs may stand on each other."""
        if not any("parent" in snapshot.made for snapshot in snapshots):
            return []
        all_of_it = self._journal.snapshots(machine=snapshots[0].machine.name)
        return [_point(each) for each in all_of_it if each.run.job is not None and each.run.job.name != job.name]

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
        if (held := self._held(due.snapshot.machine.name)) is not None:
            return replace(due, error=held)
        try:
            self._remove(job, due)
        except JournalError:
            raise
        except QuiesceError as error:
            return replace(due, fate=Fate.FAILED, error=str(error))
        return replace(due, fate=Fate.REMOVED)

    def give_way(self, machines: Collection[str]) -> None:
        """Take back what any process is merging on these machines, so that they can be cut.

        They are in an open run by now, so that nobody begins anew. What cannot be taken back, the cut will tell of.
        """
        for snapshot in self._journal.snapshots(let_go=True):
            if snapshot.machine.name in machines and snapshot.run.job is not None:
                with suppress(CallError, ConfigError), ExitStack() as stack:
                    driver = self._driver(snapshot.run.job, snapshot, stack)
                    if isinstance(driver, MergingDriver):
                        driver.give_way(snapshot.made, Deadline.after(self._clock, _GIVE_WAY))

    def _held(self, machine: str) -> str | None:
        """Why nothing may be removed from that machine now; None when it may."""
        for run in self._journal.open_runs():
            if machine in {target.machine.name for target in run.targets if target.state in OPEN}:
                return f"{machine} is in the open run {run.id}: the next pruning removes it"
        return None

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
        steps = self._journal.run(snapshot.run.id).steps_of(snapshot.machine.name)
        begun = {str(step.figures["disk"]) for step in steps if step.action is Action.MERGE and "disk" in step.figures}
        with closing(driver.remove(snapshot.made, begun, Deadline.after(self._clock, _REMOVE))) as removal:
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
                        if (held := self._held(snapshot.machine.name)) is not None:
                            raise QuiesceError(f"it gave way: {held}")

    def _driver(self, job: Job, snapshot: Snapshot, stack: ExitStack) -> RemovingDriver:
        machine = self._machines.get(snapshot.machine.name, snapshot.machine)
        driver = driver_of(snapshot, job, machine, self._connections, stack)
        if not isinstance(driver, RemovingDriver):
            raise Rejected(f"the driver {job.driver} cannot remove what it made")
        return driver

    def _record(self, snapshot: Snapshot, recorder: Recorder) -> None:
        with recorder.journaling() as steps:
            self._journal.record(snapshot.run, steps)


def driver_of(
    snapshot: Snapshot, job: Job | None, machine: Machine, connections: Connections, stack: ExitStack
) -> Driver:
    """The driver that knows what a snapshot is: that of its job as it is configured, unless it has another by now, or
    keeps its backups elsewhere.

    It is closed with `stack`. Raises ConfigError.
    """
    made_by = snapshot.run.job
    assert made_by is not None
    hypervisor = connections.hypervisor(machine)
    if hypervisor is not None:
        stack.enter_context(closing(hypervisor))
    same = job is not None and (job.driver, job.repository) == (made_by.driver, made_by.repository)
    configured = job if job is not None and same else made_by
    return stack.enter_context(closing(connections.driver(configured, machine, snapshot.run.id, hypervisor)))


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
    """The point in time that a snapshot is. It is good when its run was, or died only after the proof, and as long as
    no examination has found it wrong.
    """
    target = snapshot.run.target(snapshot.machine.name)
    proven = target.consistency.proven
    return Point(
        snapshot.run.id,
        snapshot.created_at,
        good=(target.state is State.DONE or proven) and not snapshot.distrusted,
        parent=snapshot.made.get("parent"),
    )
