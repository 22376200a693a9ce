"""The end of a transaction: what follows the window, or its being given up before."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from orchestrator import hooks
from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.copying import copy_and_publish
from orchestrator.errors import CallError, QuiesceError, Refused
from orchestrator.evidence import cut_was_made, dangling, freeze_may_hold, fuse_may_burn, outcome_of, with_what_was_left
from orchestrator.fuse import put_out
from orchestrator.model import Action, Job, Outcome, Run, State
from orchestrator.policy import judge
from orchestrator.ports import CopyingDriver, Examine, Plan
from orchestrator.settling import cut_is_settled, discard, settle_cut, settled
from orchestrator.window import Lane
from orchestrator.writing import Writing

#: What a step says of an action that was not begun, where others ask for it.
_NOT_BEGUN = {Action.FREEZE: {"sent": False}, Action.FUSE: {"lit": False}}
#: Seconds for the driver to tell what became of a cut, and for the guest to tell of its hooks.
_VERIFY, _HOOKS = 30.0, 10.0


class Closing:
    """Brings the targets of one transaction to their ends."""

    def __init__(self, run: Run, job: Job, writing: Writing, examine: Examine, clock: Clock, stop: Stop) -> None:
        self._run, self._job, self._writing = run, job, writing
        self._examine, self._clock, self._stop = examine, clock, stop

    def settle(self, lane: Lane) -> None:
        """After the window: copy what was only begun; then the verdict, which follows from the steps alone.

        Afterwards the target is closed, or `stuck`. Raises JournalError.
        """
        assert lane.plan is not None
        self._put_out(lane)
        if lane.hooks is not None and not freeze_may_hold(lane.recorder.steps):
            with suppress(CallError):  # What went wrong is written down, or was never told: then it does not count.
                hooks.look_after(lane.agent, lane.hooks, lane.recorder, Deadline.after(self._clock, _HOOKS))
        if lane.copying is not None and cut_was_made(lane.recorder.steps):
            self._copy(lane, lane.copying, lane.plan)
        if not cut_is_settled(lane.recorder.steps):
            self._record_after_thaw(lane)
            deadline = Deadline.after(self._clock, _VERIFY)
            settle_cut(lane.driver, lane.plan, lane.recorder, deadline, partial(self._record_after_thaw, lane))
        verdict = judge(self._job.quiesce, lane.recorder.steps)
        if self._stop.requested and verdict.state is State.FAILED:
            verdict = replace(verdict, state=State.CANCELLED)
        target = settled(lane.target, verdict, self._run.snapshot_name, lane.recorder.steps)
        self._writing.after_thaw(lane, self._writing.move, target)

    def give_up(self, lanes: Sequence[Lane], error: QuiesceError) -> None:
        """Before the window: close every target, because of `error`; its guest was never frozen.

        Raises JournalError.
        """
        state = State.REFUSED if isinstance(error, Refused) else State.FAILED
        if self._stop.requested:
            state = State.CANCELLED
        for lane in lanes:
            if lane.lease is not None:
                lane.lease.release()
        for lane in lanes:
            for action in dangling(lane.recorder.steps):
                lane.recorder.conclude(action, Outcome.FAILED, "not begun", **_NOT_BEGUN.get(action, {}))
            self._put_out(lane)
            if lane.plan is not None:
                deadline = Deadline.after(self._clock, _VERIFY)
                discard(lane.driver, lane.plan, lane.recorder, deadline, partial(self._writing.record, lane))
            why = str(lane.error or (f"given up with its group: {error}" if self._job.group else error))
            why = with_what_was_left(why, lane.recorder.steps)
            self._writing.move(lane, replace(lane.target, state=state, error=why))

    def _put_out(self, lane: Lane) -> None:
        """A guest that may be frozen keeps its fuse: it may be the last who can thaw it."""
        if fuse_may_burn(lane.recorder.steps) and not freeze_may_hold(lane.recorder.steps):
            put_out(lane.agent, self._run.id, lane.recorder, self._clock)

    def _copy(self, lane: Lane, driver: CopyingDriver, plan: Plan) -> None:
        """What the cut only began is copied while the guest runs, unless the guest may not run: that is told first."""
        lane.agent.reset()  # Its socket serves one client, and others may want to ask the guest meanwhile.
        for action in (Action.COPY, Action.PUBLISH):
            lane.recorder.intend(action)
        self._record_after_thaw(lane)
        if freeze_may_hold(lane.recorder.steps):
            for action in (Action.COPY, Action.PUBLISH):
                lane.recorder.conclude(action, Outcome.FAILED, "not begun: the guest may still be frozen")
        else:
            copy_and_publish(driver, plan, lane.recorder, self._clock, self._job.copy_limit, self._stop)
            self._look_into(lane)

    def _look_into(self, lane: Lane) -> None:
        """A backup that was published stays, whatever is found out about it."""
        published, verify = outcome_of(lane.recorder.steps, Action.PUBLISH), self._job.verify
        if verify is None or published is None or published.outcome is not Outcome.DONE:
            return
        lane.recorder.intend(Action.EXAMINE, verify=verify)
        self._record_after_thaw(lane)
        with suppress(QuiesceError), lane.recorder.act(Action.EXAMINE, verify=verify) as figures:
            figures |= self._examine(lane.machine, self._run.id, verify)

    def _record_after_thaw(self, lane: Lane) -> None:
        self._writing.after_thaw(lane, self._writing.record)
