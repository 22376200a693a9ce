"""The window: freeze, cut, thaw. Nothing in this module waits for the journal.

Each guest has a thread of its own that freezes it, holds it, and thaws it when the cuts have ended, when the hold
limit has come, or when the user asks to end, whichever is first. The cuts run on threads beside them: a cut
is often one call into a C library that nobody can cancel, and one that hangs must hold up no thaw.

A driver may freeze and thaw the guest itself, in its cut. Then no freeze of ours is sent, and all the rest is the same:
the intents, the guard, and the thaw when the cut has ended or its time is over.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.errors import CallError, CommandDisabled, OutcomeUnknown, QuiesceError, Rejected, Unreachable
from orchestrator.evidence import freeze_may_hold, held_by_other, outcome_of
from orchestrator.hooks import Report
from orchestrator.model import Action, Job, Outcome, Quiesce, Target
from orchestrator.policy import Limits
from orchestrator.ports import Agent, CopyingDriver, Driver, Hypervisor, Lease, Plan, QuiescingDriver
from orchestrator.recorder import Recorder
from orchestrator.thawing import thaw_until_confirmed

#: Seconds past its own limit for which a cut that hangs is still waited for.
_LATE_CUT = 30.0


@dataclass
class Lane:
    """One machine on its way through the transaction."""

    target: Target
    agent: Agent
    hypervisor: Hypervisor | None
    driver: Driver
    recorder: Recorder
    #: The job's, until the guest's operating system is known.
    limits: Limits
    #: How many file systems the guest had shortly before its freeze; None when it does not tell.
    filesystems: int | None = None
    #: What the driver is going to make; None until it was asked.
    plan: Plan | None = None
    #: False: cut without a freeze, because the job says so, or because it allows it and the guest cannot be frozen.
    freezes: bool = True
    #: What the guest's agent allows, and what its freeze hook had reported before the freeze; None: it cannot be told.
    commands: frozenset[str] = frozenset()
    hooks: Report | None = None
    #: The guard's charge over this machine; there before it is frozen.
    lease: Lease | None = None
    #: The last write to the journal was not answered: it may have landed.
    in_doubt: bool = False
    #: Why this machine came no further.
    error: QuiesceError | None = None

    @property
    def machine(self) -> str:
        return self.target.machine.name

    @property
    def quiescing(self) -> QuiescingDriver | None:
        """The driver, when it is to freeze and thaw the guest itself."""
        return self.driver if self.freezes and isinstance(self.driver, QuiescingDriver) else None

    @property
    def copying(self) -> CopyingDriver | None:
        """The driver, when its cut only begins a copy."""
        return self.driver if isinstance(self.driver, CopyingDriver) else None

    def start(self, clock: Clock, role: str, work: Callable[..., None], *arguments: Any) -> Task[None]:
        """Run `work(self, *arguments)` on a thread of its own."""
        return Task(clock, f"{role} {self.machine}", lambda: work(self, *arguments))


class Window:
    """The time in which the guests of one transaction are frozen."""

    def __init__(self, job: Job, lanes: Sequence[Lane], clock: Clock, stop: Stop) -> None:
        self._job, self._lanes, self._clock, self._stop = job, lanes, clock, stop
        self._lock = threading.Lock()
        self._unfrozen = sum(lane.freezes for lane in lanes)
        self._uncut = len(lanes)
        #: Every guest has answered its freeze, or nobody waits for that any longer.
        self._ready = threading.Event()
        #: The cuts are made. It is settled when `_ready` is set: all cuts or none.
        self._cutting = False
        #: Nobody needs the guests frozen any longer.
        self._over = threading.Event()

    def run(self) -> None:
        """Freeze, cut and thaw all machines.

        Afterwards every intent to freeze, cut and thaw has its outcome in the machine's recorder, and every
        guest that was sent a freeze is confirmed thawed, or its last thaw step says why not. Raises only what keeps
        a thread from being started, when the guests have been let go.
        """
        with self._stop.calling(self._close):
            cuts = self._hold_and_cut()
        if not self._cutting:
            for lane in self._lanes:
                lane.recorder.conclude(Action.CUT, Outcome.FAILED, f"not made: {self._why_closed()}")
        late = Deadline.after(self._clock, max(map(self._limit, self._lanes)) + _LATE_CUT)
        for lane, cut in zip(self._lanes, cuts, strict=True):
            if not cut.wait(late):
                lane.recorder.abandon(Action.CUT, OutcomeUnknown("the cut did not end"))

    def _hold_and_cut(self) -> list[Task[None]]:
        """Freeze all guests, cut if that succeeded, and return the cuts' tasks when all guests have been let go.

        The threads of the cuts are started while the guests freeze: to start one in between can take milliseconds.
        """
        guests: list[Task[None]] = []
        try:
            for lane in filter(lambda lane: lane.freezes, self._lanes):  # One by one: what was started is waited for.
                guests += [lane.start(self._clock, "guest", self._hold)]
            if not guests:
                self._begin_cuts()
            return [lane.start(self._clock, "cut", self._cut) for lane in self._lanes]
        except BaseException:
            self._close()
            raise
        finally:
            for guest in guests:
                guest.join()

    def _hold(self, lane: Lane) -> None:
        """Freeze one guest, hold it until the window is over, and thaw it, whatever happens in between.

        The guard is told how long freeze and hold may take, and each call of the thaw; and is let go when the guest is
        thawed.
        """
        assert lane.lease is not None
        frozen = Outcome.UNKNOWN
        try:
            lane.lease.within(lane.limits.freeze_timeout)
            frozen = self._freeze(lane)
            limit = self._limit(lane)
            lane.lease.within(limit, answered=frozen is not Outcome.UNKNOWN)
            hold = Deadline.after(self._clock, limit)
            if held_by_other(lane.recorder.steps) or (
                frozen is not Outcome.DONE and self._job.quiesce is Quiesce.REQUIRED
            ):
                self._close()
            self._count_frozen()
            if not self._clock.wait(self._over, hold) and self._job.quiesce is Quiesce.PREFERRED:
                self._begin_cuts()  # Not all guests are frozen, and the cut is wanted all the same.
        finally:
            self._close()
            self._thaw(lane, lane.lease, answered=frozen is not Outcome.UNKNOWN or self._has_let_go(lane))

    def _thaw(self, lane: Lane, lease: Lease, *, answered: bool) -> None:
        if freeze_may_hold(lane.recorder.steps):
            limit, within = self._job.thaw_timeout, partial(lease.within, answered=answered)
            # What goes wrong is written down: without a confirmed thaw the verdict is `stuck`.
            with suppress(CallError):
                thaw_until_confirmed(lane.agent, lane.recorder, self._clock, limit, watch=not answered, within=within)
        else:
            lane.recorder.conclude(Action.THAW, Outcome.FAILED, "not needed: no freeze was sent")
        if freeze_may_hold(lane.recorder.steps):
            lease.within(None, answered=answered)  # Stuck: when we have ended, the guard goes on.
        else:
            lease.release()

    def _freeze(self, lane: Lane) -> Outcome:
        if lane.quiescing is not None:
            why = "it was left to the driver, which does not tell how many file systems it froze"
            lane.recorder.conclude(Action.FREEZE, Outcome.UNKNOWN, why, by_driver=True)
            return Outcome.UNKNOWN
        with suppress(CallError), lane.recorder.act(Action.FREEZE) as figures:
            deadline = Deadline.after(self._clock, lane.limits.freeze_timeout)
            try:
                figures["frozen"] = lane.agent.freeze(self._job.mountpoints, deadline)
            except (Unreachable, CommandDisabled) as error:
                figures["sent"] = False
                if isinstance(error, CommandDisabled):  # perhaps because somebody else was faster
                    with suppress(CallError):
                        figures["status"] = lane.agent.freeze_status(deadline)
                raise
            if figures["frozen"] == 0:
                raise Rejected("the guest answered the freeze, but froze no file system")
        outcome = outcome_of(lane.recorder.steps, Action.FREEZE)
        assert outcome is not None
        return outcome.outcome

    def _cut(self, lane: Lane) -> None:
        assert lane.plan is not None
        self._wait_until_ready()
        if not self._cutting:
            return
        # What goes wrong is written down, and the cut is asked for by its name after the thaw.
        with self._counting_cut(), suppress(CallError), lane.recorder.act(Action.CUT) as figures:
            deadline = Deadline.after(self._clock, self._limit(lane))
            cut = lane.driver.cut if lane.quiescing is None else lane.quiescing.quiesced_cut
            figures["made"] = cut(lane.plan, deadline)

    def _limit(self, lane: Lane) -> float:
        """Seconds from our freeze's answer to the thaw. A driver that freezes by itself does that within them, too."""
        return lane.limits.hold_limit + (0.0 if lane.quiescing is None else lane.limits.freeze_timeout)

    @staticmethod
    def _has_let_go(lane: Lane) -> bool:
        """Whether a driver that froze the guest itself has said that its cut is over: no freeze can land any more."""
        cut = outcome_of(lane.recorder.steps, Action.CUT)
        return lane.quiescing is not None and cut is not None and cut.outcome is not Outcome.UNKNOWN

    def _wait_until_ready(self) -> None:
        while not self._clock.wait(self._ready, Deadline.after(self._clock, self._job.freeze_timeout)):
            pass

    def _count_frozen(self) -> None:
        with self._lock:
            self._unfrozen -= 1
            last = not self._unfrozen
        if last:
            self._begin_cuts()

    def _begin_cuts(self) -> None:
        with self._lock:
            self._cutting = self._cutting or not self._over.is_set()
            self._ready.set()

    @contextmanager
    def _counting_cut(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._lock:
                self._uncut -= 1
                last = not self._uncut
            if last:
                self._close()

    def _close(self) -> None:
        """Let all guests go."""
        with self._lock:
            self._over.set()
            self._ready.set()

    def _why_closed(self) -> str:
        if self._stop.requested:
            return "the run was ended by its user"
        for lane in self._lanes:
            freeze = outcome_of(lane.recorder.steps, Action.FREEZE)
            if freeze is not None and freeze.error:
                return f"{lane.machine} could not be frozen: {freeze.error}"
        shortest = min(lane.limits.hold_limit for lane in self._lanes)
        return f"not every guest was frozen within the hold limit of {shortest:g} s"
