"""What users do: start a run, recover, thaw by hand, look. Every door of the product enters here."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

from orchestrator import host_hooks
from orchestrator.by_hand import ByHand
from orchestrator.checkup import look
from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.errors import (
    CallError,
    ConfigError,
    JournalError,
    NotFound,
    Refused,
    StuckUnjournaled,
    Superseded,
)
from orchestrator.evidence import freeze_may_hold
from orchestrator.model import (
    Action,
    Health,
    Job,
    Located,
    Machine,
    Owner,
    Pruned,
    Quiesce,
    Run,
    Sighting,
    Snapshot,
    State,
    Target,
    Trigger,
)
from orchestrator.policy import limits_of
from orchestrator.ports import Connections, Examine, Guard, Journal, LocatingDriver, Observer
from orchestrator.preflight import check_job
from orchestrator.pruning import Pruning, driver_of
from orchestrator.recorder import Recorder, new_run
from orchestrator.recovery import Recovery, in_hand, let_go
from orchestrator.retrying import after_thaw
from orchestrator.settling import results
from orchestrator.slots import Slots
from orchestrator.states import OPEN, held_by
from orchestrator.sweep import Sweep
from orchestrator.transaction import Transaction
from orchestrator.window import Lane

#: Seconds for a machine to answer `check`.
_CHECK = 10.0
#: How many windows `check` shows, and among how many runs it looks for them.
_WINDOWS, _LOOK_BACK = 5, 20
#: Seconds, after the thaw, for the journal to come back.
_JOURNAL = 30.0


class Service:
    """The use cases, over one journal and one configuration."""

    def __init__(
        self,
        *,
        machines: Mapping[str, Machine],
        jobs: Mapping[str, Job],
        journal: Journal,
        connections: Connections,
        guard: Guard,
        examine: Examine,
        clock: Clock,
        owner: Owner,
        is_gone: Callable[[Owner], bool],
        slots: Slots | None = None,
    ) -> None:
        self.machines, self.jobs = machines, jobs
        self._journal, self._connections, self._guard, self._clock = journal, connections, guard, clock
        self._examine = examine
        self._owner, self._is_gone = owner, is_gone
        self._slots = slots or Slots(clock)

    def configure(self, machines: Mapping[str, Machine], jobs: Mapping[str, Job]) -> None:
        """From now on, these are the machines and jobs. What has begun goes on as it is."""
        self.machines, self.jobs = machines, jobs

    def run(
        self,
        job: str,
        *,
        machine: str | None = None,
        scheduled_for: datetime | None = None,
        leaving_out: Collection[str] = (),
        run_id: str | None = None,
        opened: Callable[[Run], None] = lambda run: None,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> Run:
        """Run a job now, on all its machines or on one of them, and return the run as it ended.

        Open runs that nobody has in hand are recovered: those of its machines first, all others beside it. Every
        machine has its own window; with `group`, all share one. `scheduled_for` is the time of its schedule that it
        is for, if the clock began it; machines in `leaving_out` are not touched. `run_id` is one of `recorder.new_id`
        that was chosen beforehand; `opened` is called when the journal has the run. Raises NotFound, ConfigError, or
        JournalError: AlreadyRun when that time has its run; after others the guests are thawed as far as they can be,
        and recovery settles the run when the journal is back.
        """
        spec = self._job(job)
        if machine is not None and machine not in spec.machines:
            raise NotFound(f"job {job!r} has no machine {machine!r}; it has: {', '.join(spec.machines)}")
        names = [name for name in (spec.machines if machine is None else (machine,)) if name not in leaving_out]
        targets = tuple(Target(self._machine(name)) for name in names)
        trigger = Trigger.MANUAL if scheduled_for is None else Trigger.SCHEDULE
        own, machines = Stop(), [target.machine for target in targets]
        if spec.quiesce is not Quiesce.OFF:
            self._guard.prepare(machines)  # It comes up while all that is before the freeze is done.
        with (stop or Stop()).calling(own.request), self.recovery().recovering(machines):
            by_hand = self._by_hand(observer)
            for each in machines:
                by_hand.let_know(each)
            run = new_run(self._clock, self._owner, spec, trigger, targets)
            run = replace(run, id=run_id or run.id, scheduled_for=scheduled_for)
            return self._run(run, spec, opened, observer, own)

    def cancel(self, run_id: str) -> Run:
        """Ask a run to end, and return it as it is then: its guests are thawed, and a copy is ended.

        Raises NotFound, Refused for a run that has ended or that another process has in hand, and JournalError.
        """
        run = self._journal.run(run_id)
        if run.state not in OPEN:
            raise Refused(f"run {run.id} has ended: it is {run.state}")
        if not in_hand.end(run.id):
            raise Refused(f"run {run.id} is not in the hands of this process but of {run.owner}: end it there")
        return run

    def _run(self, run: Run, spec: Job, opened: Callable[[Run], None], observer: Observer | None, stop: Stop) -> Run:
        with ExitStack() as stack:
            # A driver that does not fit the machine is the user's mistake, so it is found before the run exists.
            lanes = [self._lane(run, spec, target, observer, stack) for target in run.targets]
            with in_hand.taking(run.id, stop):
                run = self._journal.open_run(run)
                opened(run)
                run, lanes = self._carry_out(run, spec, lanes, observer, stop)
            if not spec.after:  # Nobody waits for it: if the run is stuck, it is thawed meanwhile.
                return run
            tasks = [partial(self._after, run, spec, lane, observer, stop) for lane in lanes]
            results([Task(self._clock, f"after {run.id}", task) for task in tasks])
            return self._journal.run(run.id)

    def _carry_out(
        self, run: Run, spec: Job, lanes: list[Lane], observer: Observer | None, stop: Stop
    ) -> tuple[Run, list[Lane]]:
        """The run as it ended, and those of its lanes that were not turned away."""
        lanes = [lane for lane in lanes if run.target(lane.machine).state in OPEN]
        try:
            self._pruning(observer, stop).give_way([lane.machine for lane in lanes])
            with suppress(Superseded):  # Another process has settled some of it, and the journal says how.
                self._transact(run, spec, lanes, stop)
            ended = after_thaw(Deadline.after(self._clock, _JOURNAL))(self._journal.run, run.id)
            return let_go(self._journal, ended, self._owner), lanes
        except JournalError as error:
            stuck = [lane.machine for lane in lanes if freeze_may_hold(lane.recorder.steps)]
            if not stuck or isinstance(error, StuckUnjournaled):
                raise
            raise StuckUnjournaled(f"{error}; {', '.join(stuck)} may still be frozen") from error

    def _after(self, run: Run, job: Job, lane: Lane, observer: Observer | None, stop: Stop) -> None:
        """Run the job's program for when all is over; how it ended is a step of the run, which has ended already."""
        lane.agent.reset()  # Its socket serves one client, which the program may want to be.
        recorder = Recorder(lane.machine, self._clock, observer)
        recorder.intend(Action.HOOK, hook=host_hooks.AFTER)
        with recorder.journaling() as intent:
            self._journal.record(run, intent)
        told = host_hooks.about(run, job, run.target(lane.machine), lane.driver, self._clock)
        with suppress(CallError):
            deadline = Deadline.after(self._clock, job.hook_timeout)
            host_hooks.carry_out(host_hooks.AFTER, job.after, told, recorder, deadline, stop)
        after_thaw(Deadline.after(self._clock, _JOURNAL))(self._journal.record, run, recorder.unjournaled())

    def prune(
        self,
        job: str | None = None,
        *,
        machine: str | None = None,
        dry_run: bool = False,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> tuple[Pruned, ...]:
        """Remove what the retention of one job, or of all that have one, does not keep; with `dry_run` only look.

        Returns what became of every snapshot of those jobs. Raises NotFound, ConfigError when the named job has no
        retention, and JournalError.
        """
        if job is not None and self._job(job).retention is None:
            raise ConfigError(f"job {job!r} has no `retention`: everything that it made is kept")
        jobs = [spec for spec in self.jobs.values() if spec.retention is not None and job in {None, spec.name}]
        pruning = self._pruning(observer, stop)
        work = pruning.look if dry_run else pruning.prune
        return tuple(pruned for spec in jobs for pruned in work(spec, machine))

    def snapshots(self, machine: str | None = None) -> tuple[Located, ...]:
        """All snapshots that are there, of one machine or of all, oldest first, and where each is now.

        Raises JournalError. What cannot be located is listed with the reason.
        """
        return tuple(self._located(snapshot) for snapshot in self._journal.snapshots(machine=machine))

    def _located(self, snapshot: Snapshot) -> Located:
        if snapshot.let_go_at is not None:
            return Located(snapshot, error="let go, and not yet gone: it cannot be restored")
        machine = self.machines.get(snapshot.machine.name, snapshot.machine)
        job = snapshot.run.job and self.jobs.get(snapshot.run.job.name)
        try:
            with ExitStack() as stack:
                driver = driver_of(snapshot, job, machine, self._connections, stack)
                if not isinstance(driver, LocatingDriver):
                    return Located(snapshot)
                return Located(snapshot, driver.places(snapshot.made, Deadline.after(self._clock, _CHECK)))
        except (CallError, ConfigError) as error:
            return Located(snapshot, error=str(error))

    def recovery(self, observer: Observer | None = None) -> Recovery:
        """What settles the runs that nobody has in hand."""
        return Recovery(
            self._journal, self._connections, self._guard, self._clock, self._owner, self._is_gone, observer
        )

    def recover(self, observer: Observer | None = None) -> tuple[Run, ...]:
        """Settle the open runs of dead processes and try stuck guests again; see `Recovery.recover`."""
        return self.recovery(observer).recover()

    def sweep(self, observer: Observer | None = None) -> tuple[tuple[Run, ...], tuple[Sighting, ...]]:
        """`recover`, and then a look at every configured machine; see `Sweep.look`. Raises JournalError.

        What no run of the journal froze is told, and left as it is.
        """
        return self.recover(observer), self.look()

    def look(self, stop: Stop | None = None) -> tuple[Sighting, ...]:
        """A look at every configured machine, or, after `stop`, at some; see `Sweep.look`. Raises JournalError."""
        sweep = Sweep(self._journal, self._connections, self.recovery(None), self._clock, self._owner.host)
        return sweep.look(list(self.machines.values()), stop or Stop())

    def thaw(
        self, machine: str, *, force: bool = False, reason: str | None = None, observer: Observer | None = None
    ) -> Run:
        """Thaw one machine by hand, and return the run in whose history that is.

        A run of the machine that nobody has in hand, or that is stuck, is settled. A guest that no run of the journal
        froze is thawed with `force` only. With `force` and a `reason`, which goes into the history, a run whose thaw
        cannot be confirmed is closed on the operator's word.

        Raises MachineBusy when a living run holds the machine, FrozenByOther, NotFound, CallError when the agent cannot
        be asked, and JournalError.
        """
        return self._by_hand(observer).thaw(self._machine(machine), force=force, reason=reason)

    def check(self, machine: str) -> Health:
        """Whether a machine could be quiesced now, and how it did lately. Raises NotFound and JournalError."""
        spec = self._machine(machine)
        with ExitStack() as stack:
            hypervisor = self._connections.hypervisor(spec)
            if hypervisor is not None:
                stack.enter_context(closing(hypervisor))
            agent = stack.enter_context(closing(self._connections.agent(spec)))
            health = look(machine, hypervisor, agent, Deadline.after(self._clock, _CHECK))
        holders = [run.id for run in self._journal.open_runs() for t in run.targets if _holds(t, machine)]
        windows = (run.target(machine).window_ms for run in self._journal.history(_LOOK_BACK, machine=machine))
        last = tuple(window for window in windows if window is not None)[:_WINDOWS]
        return replace(health, held_by=holders[0] if holders else None, last_windows_ms=last)

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]:
        """The newest runs without their steps, stuck ones first. Raises JournalError."""
        return self._journal.history(limit, job=job, machine=machine, state=state)

    def show(self, run_id: str) -> Run:
        """One run with its steps, by its id or the beginning of it. Raises NotFound and JournalError."""
        if not run_id:
            raise NotFound("which run? Its id, or the beginning of it: `quiesce history` has them")
        return self._journal.run(run_id)

    def _transact(self, run: Run, job: Job, lanes: Sequence[Lane], stop: Stop) -> None:
        """Hold the windows of a run, all at once: one for the group, or one for each machine."""
        windows = [lanes] if job.group else [[lane] for lane in lanes]

        def execute(window: Sequence[Lane]) -> None:
            with self._slots.taking(job, [lane.target.machine for lane in window], stop):
                Transaction(run, job, window, self._journal, self._guard, self._examine, self._clock, stop).execute()

        results([Task(self._clock, f"run {run.id}", partial(execute, window)) for window in windows if window])

    def _lane(self, run: Run, job: Job, target: Target, observer: Observer | None, stack: ExitStack) -> Lane:
        hypervisor = self._connections.hypervisor(target.machine)
        if hypervisor is not None:
            stack.enter_context(closing(hypervisor))
        driver = stack.enter_context(closing(self._connections.driver(job, target.machine, run.id, hypervisor)))
        check_job(job, driver)
        return Lane(
            target=target,
            agent=stack.enter_context(closing(self._connections.agent(target.machine))),
            hypervisor=hypervisor,
            driver=driver,
            recorder=Recorder(target.machine.name, self._clock, observer),
            limits=limits_of(job, None),
        )

    def _held(self, run: Run, machine: Machine) -> Target | None:
        return held_by(run, machine, self._owner.host)

    def _by_hand(self, observer: Observer | None) -> ByHand:
        recovery = self.recovery(observer)
        return ByHand(self._journal, self._connections, recovery, self._clock, self._owner, observer)

    def _pruning(self, observer: Observer | None, stop: Stop | None) -> Pruning:
        return Pruning(self._journal, self._connections, self._clock, self.machines, observer, stop or Stop())

    def _job(self, name: str) -> Job:
        if name not in self.jobs:
            raise NotFound.in_configuration("job", name, self.jobs)
        return self.jobs[name]

    def _machine(self, name: str) -> Machine:
        if name not in self.machines:
            raise NotFound.in_configuration("machine", name, self.machines)
        return self.machines[name]


def _holds(target: Target, machine: str) -> bool:
    return target.machine.name == machine and target.state in OPEN
