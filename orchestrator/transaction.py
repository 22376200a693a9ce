"""One transaction, from the pre-flight to the verdict: the laws, in the order in which they are kept.

One transaction holds one machine, or all machines of a consistency group.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import timedelta

from orchestrator import hooks, host_hooks
from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.closing import Closing
from orchestrator.errors import (
    CallError,
    FrozenByOther,
    MachineBusy,
    MachineHeld,
    NoGuard,
    OutcomeUnknown,
    QuiesceError,
)
from orchestrator.flush import write_back
from orchestrator.fuse import light
from orchestrator.model import Action, Job, Outcome, Power, PreFlush, Quiesce, Run, State
from orchestrator.policy import limits_of
from orchestrator.ports import Examine, Guard, Journal
from orchestrator.preflight import busy, check_agent, check_power, check_thawed, count_filesystems, guest_os
from orchestrator.settling import gravest, results
from orchestrator.states import held_by
from orchestrator.thawing import longest
from orchestrator.window import Lane, Window
from orchestrator.writing import PATIENCE, Writing

#: Seconds for a machine to answer the pre-flight, for the driver's preparation, and for the flush of dirty pages.
_PREFLIGHT, _PREPARE, _FLUSH = 10.0, 60.0, 120.0
#: Seconds in which the guard is armed, and the fuse lit, for all machines.
_ARM = 30.0


class Transaction:
    """Freeze, cut and thaw one or more machines at one point in time."""

    def __init__(
        self,
        run: Run,
        job: Job,
        lanes: Sequence[Lane],
        journal: Journal,
        guard: Guard,
        examine: Examine,
        clock: Clock,
        stop: Stop,
    ) -> None:
        self._run, self._job, self._lanes = run, job, lanes
        self._journal, self._guard = journal, guard
        self._clock, self._stop = clock, stop
        self._writing = Writing(run, journal, clock)
        self._closing = Closing(run, job, self._writing, examine, clock, stop)

    def execute(self) -> None:
        """Carry it out.

        Afterwards every target is settled in the journal, and every guest is confirmed thawed or its target is
        `stuck`. Raises JournalError when the journal did not take it; then the guests are thawed all the same, as
        far as they can be, and recovery settles the run.
        """
        try:
            self._each(self._check)  # A machine that somebody else holds is not touched.
            self._each(self._before)  # The job's own program may say no.
            self._each(self._prepare)  # Everything slow comes before the freeze,
            self._each(self._flush)  # the dirty pages too.
            self._each(self._look_again)  # All that took its time.
            self._commit_intents()  # No journal, no freeze.
            self._each(self._arm)  # No guard, no freeze.
            self._each(self._light)  # A fuse that was asked for is a promise, too.
        except QuiesceError as error:
            self._closing.give_up(self._lanes, error)
            return
        Window(self._job, self._lanes, self._clock, self._stop).run()  # Nothing in there waits for the journal.
        self._each(self._closing.settle)  # The verdict follows from the steps alone.

    def _check(self, lane: Lane) -> None:
        """The pre-flight. A guest that cannot be quiesced and need not be is cut without a freeze."""
        deadline = Deadline.after(self._clock, _PREFLIGHT)
        lane.freezes = False
        with lane.recorder.act(Action.PREFLIGHT) as figures:
            figures["power"] = power = check_power(lane.hypervisor, deadline)
            if self._job.quiesce is Quiesce.OFF:
                return
            try:
                if power is Power.PAUSED:
                    raise MachineHeld("the machine is paused: its agent cannot answer")
                info = check_agent(lane.agent, self._job.mountpoints, deadline)
                figures["agent"], lane.commands = info.version, info.enabled
                system = guest_os(lane.agent, deadline)
                if system is not None:
                    figures["os"] = asdict(system)
                    lane.limits, configured = limits_of(self._job, system), lane.limits
                    figures |= asdict(lane.limits) if lane.limits != configured else {}
                lane.freezes = True
            except FrozenByOther as error:
                raise self._holder(lane) or error from error
            except (CallError, MachineHeld) as error:
                if self._job.quiesce is Quiesce.REQUIRED:
                    raise
                figures["not_frozen"] = str(error)

    def _holder(self, lane: Lane) -> MachineBusy | None:
        """Why a guest that was found frozen is frozen, when another run of the journal says so."""
        for run in self._journal.open_runs():
            target = held_by(run, lane.target.machine, self._run.owner.host)
            if target is not None and run.id != self._run.id:
                return busy(run, target)
        return None

    def _before(self, lane: Lane) -> None:
        if not self._job.before:
            return
        lane.agent.reset()  # Its socket serves one client, which the program may want to be.
        lane.recorder.intend(Action.HOOK, hook=host_hooks.BEFORE)
        self._writing.record(lane)
        told = host_hooks.about(self._run, self._job, lane.target, lane.driver, self._clock)
        deadline = Deadline.after(self._clock, self._job.hook_timeout)
        host_hooks.carry_out(host_hooks.BEFORE, self._job.before, told, lane.recorder, deadline, self._stop)

    def _prepare(self, lane: Lane) -> None:
        deadline = Deadline.after(self._clock, _PREPARE)
        lane.plan = lane.driver.plan(self._run.snapshot_name, deadline)
        lane.recorder.intend(Action.PREPARE, plan=lane.plan)
        self._writing.record(lane)
        counting = lane.start(self._clock, "count", self._count)  # The guest answers while files are made.
        try:
            with lane.recorder.act(Action.PREPARE) as figures:
                figures |= lane.driver.prepare(lane.plan, deadline) or {}
        finally:
            counting.join()
        counting.result()

    def _count(self, lane: Lane) -> None:
        if lane.freezes:
            lane.filesystems = count_filesystems(lane.agent, Deadline.after(self._clock, _PREFLIGHT))

    def _flush(self, lane: Lane) -> None:
        if not lane.freezes or self._job.pre_flush is PreFlush.OFF or self._stop.requested:
            return
        # What the flush did not write back, the freeze will: slower, and just as consistent.
        with suppress(CallError), lane.recorder.act(Action.FLUSH) as figures:
            figures |= write_back(lane.agent, self._job.pre_flush, Deadline.after(self._clock, _FLUSH), self._stop)
        self._count(lane)  # Meanwhile somebody may have mounted another one.

    def _look_again(self, lane: Lane) -> None:
        """The pre-flight was long ago. A guest that went mute, and need not be quiesced, is cut without a freeze."""
        if not lane.freezes:
            return
        deadline = Deadline.after(self._clock, _PREFLIGHT)
        try:
            check_thawed(lane.agent, deadline)
            if lane.commands >= hooks.NEEDED:
                with suppress(CallError):  # Who cannot tell of its hooks has none that count.
                    lane.hooks = hooks.read(lane.agent, deadline)
        except CallError as error:
            if self._job.quiesce is Quiesce.REQUIRED:
                raise
            lane.freezes = False
            lane.recorder.conclude(Action.PREFLIGHT, Outcome.FAILED, str(error), not_frozen=str(error))

    def _commit_intents(self) -> None:
        """Afterwards the journal knows all that the window is about to do."""
        if self._stop.requested:
            raise QuiesceError("the run was ended by its user before the freeze")
        for lane in self._lanes:
            if lane.freezes:
                if self._job.fuse is not None:
                    lane.recorder.intend(Action.FUSE, seconds=self._job.fuse)
                mountpoints = list(self._job.mountpoints)
                until = self._lease_end(lane)
                lane.recorder.intend(Action.FREEZE, mountpoints=mountpoints, filesystems=lane.filesystems, until=until)
            lane.recorder.intend(Action.CUT, snapshot=self._run.snapshot_name)
            if lane.freezes:
                lane.recorder.intend(Action.THAW)
        for lane in self._lanes:
            self._writing.move(lane, replace(lane.target, state=State.RUNNING))

    def _lease_end(self, lane: Lane) -> str:
        """When, at the latest, the guest is thawed or stuck: until then it is ours, whoever cannot tell that we live.

        A driver that freezes by itself takes the time for a freeze twice.
        """
        thaw = longest(self._job.thaw_timeout, lane.agent.linger)
        seconds = _ARM + 2 * lane.limits.freeze_timeout + lane.limits.hold_limit + thaw + PATIENCE
        return (self._clock.now() + timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")

    def _arm(self, lane: Lane) -> None:
        """Afterwards somebody else thaws the guest if this process dies. Without that, it is not frozen."""
        if not lane.freezes:
            return
        try:
            lane.lease = self._guard.arm(self._run.id, lane.target.machine)
        except NoGuard as error:
            if self._job.quiesce is Quiesce.REQUIRED:
                raise
            lane.freezes = False
            if self._job.fuse is not None:
                lane.recorder.conclude(Action.FUSE, Outcome.FAILED, "not needed: no freeze was sent", lit=False)
            lane.recorder.conclude(Action.FREEZE, Outcome.FAILED, str(error), sent=False)
            lane.recorder.conclude(Action.THAW, Outcome.FAILED, "not needed: no freeze was sent")

    def _light(self, lane: Lane) -> None:
        """Afterwards the guest thaws itself if all else fails. Where it cannot and need not, its step says so."""
        if not lane.freezes or self._job.fuse is None:
            return
        try:
            light(lane.agent, self._run.id, self._job.fuse, lane.recorder, self._clock)
        except CallError:
            if self._job.quiesce is Quiesce.REQUIRED:
                raise

    def _each(self, work: Callable[[Lane], None]) -> None:
        """Do `work` for all machines at once, and raise the gravest error."""
        tasks = [lane.start(self._clock, work.__name__, self._attempt, work) for lane in self._lanes]
        results(tasks)
        errors = [lane.error for lane in self._lanes if lane.error is not None]
        if errors:
            raise gravest(errors)

    def _attempt(self, lane: Lane, work: Callable[[Lane], None]) -> None:
        try:
            work(lane)
        except QuiesceError as error:
            lane.error = error
        except Exception as defect:  # noqa: BLE001 - a defect on one machine must not leave the others unsettled
            lane.error = OutcomeUnknown(f"a defect in {work.__name__}: {type(defect).__name__}: {defect}")
