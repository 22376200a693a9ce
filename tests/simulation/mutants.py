"""The product with one law broken on purpose: if the simulation does not notice, its silence is worth nothing.

Each mutant is the mistake that somebody could make in good faith, and some are what programs in the field do.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from orchestrator import (
    by_hand,
    closing,
    copying,
    evidence,
    guard_main,
    policy,
    recovery,
    settling,
    thawing,
    window,
)
from orchestrator.clock import Clock, Deadline
from orchestrator.closing import Closing
from orchestrator.errors import CallError, Superseded
from orchestrator.model import Action, Outcome, Run, State, Step, Target
from orchestrator.ports import Agent, CopyingDriver, Driver, Lease, Plan
from orchestrator.recorder import Recorder
from orchestrator.recovery import Recovery
from orchestrator.transaction import Transaction
from orchestrator.window import Lane, Window
from tests.simulation.host import Host, Record

Mutant = Callable[[], AbstractContextManager[Any]]


def thaw_only_after_a_successful_freeze() -> AbstractContextManager[Any]:
    """`if frozen: thaw()`. A freeze whose answer was lost is never thawed."""

    def frozen(steps: Sequence[Step]) -> bool:
        freeze = evidence.outcome_of(steps, Action.FREEZE)
        return freeze is not None and freeze.outcome is Outcome.DONE

    return patch.object(window, "freeze_may_hold", frozen)


@contextmanager
def thaw_assumed() -> Iterator[None]:
    """The thaw is sent once, and whatever comes of it, the guest is believed to be thawed."""

    def thaw_once(
        agent: Agent, recorder: Recorder, clock: Clock, limit: float, *, watch: bool, within: Callable[[float], None]
    ) -> None:
        with suppress(CallError), recorder.act(Action.THAW) as figures:
            figures["thawed"] = agent.thaw(Deadline.after(clock, limit))
        with recorder.act(Action.CONFIRM):
            pass

    with patch.object(window, "thaw_until_confirmed", thaw_once):
        yield


@contextmanager
def thaw_not_watched() -> Iterator[None]:
    """After a freeze that was given up, one thaw will do: the freeze that lands behind it is never seen."""
    real = thawing.thaw_until_confirmed

    def unwatched(
        agent: Agent, recorder: Recorder, clock: Clock, limit: float, *, watch: bool, within: Callable[[float], None]
    ) -> None:
        real(agent, recorder, clock, limit, watch=False, within=within)

    with patch.object(window, "thaw_until_confirmed", unwatched):
        yield


@contextmanager
def intent_after_act() -> Iterator[None]:
    """The journal learns of the freeze when it is over."""
    settle = Closing.settle

    def only_remember(self: Transaction) -> None:
        for lane in self._lanes:
            for action in (Action.FREEZE, Action.CUT, Action.THAW) if lane.freezes else (Action.CUT,):
                lane.recorder.intend(action)

    def journal_and_settle(self: Closing, lane: Lane) -> None:
        self._writing.move(lane, replace(lane.target, state=State.RUNNING))
        settle(self, lane)

    with (
        patch.object(Transaction, "_commit_intents", only_remember),
        patch.object(Closing, "settle", journal_and_settle),
    ):
        yield


@contextmanager
def status_believed_over_count() -> Iterator[None]:
    """The agent said `frozen` to the end, so the cut is called consistent."""
    real = policy.doubt_about

    def believing(steps: Sequence[Step]) -> str | None:
        doubt = real(steps)
        return None if doubt and "but the thaw found" in doubt else doubt

    with patch.object(policy, "doubt_about", believing):
        yield


@contextmanager
def cut_repeated() -> Iterator[None]:
    """A cut without an answer is made once more, as a retry that knows no better does."""
    real = Window._cut

    def twice(self: Window, lane: Lane) -> None:
        real(self, lane)
        cut = evidence.outcome_of(lane.recorder.steps, Action.CUT)
        if cut is not None and cut.outcome is Outcome.UNKNOWN and lane.plan is not None:
            with suppress(CallError):
                lane.driver.cut(lane.plan, Deadline.after(self._clock, 5))

    with patch.object(Window, "_cut", twice):
        yield


@contextmanager
def hold_limit_not_enforced() -> Iterator[None]:
    """The guest is held for as long as the cut takes."""
    real = Window._hold

    def patient(self: Window, lane: Lane) -> None:
        lane.limits = replace(lane.limits, hold_limit=1000)
        real(self, lane)

    with patch.object(Window, "_hold", patient):
        yield


def thaw_whatever_happened() -> AbstractContextManager[Any]:
    """A freeze that was refused, because a stranger holds the guest, is thawed all the same."""
    return patch.object(window, "freeze_may_hold", lambda steps: True)


def stranger_thawed_by_hand() -> AbstractContextManager[Any]:
    """`quiesce thaw` without `--force` does not ask whose freeze it is."""
    return patch.object(by_hand, "check_thawed", lambda agent, deadline: None)


@contextmanager
def journal_written_in_the_window() -> Iterator[None]:
    """Every step is journaled as it is made, while the guest is frozen."""
    real = Transaction._commit_intents

    def at_once(self: Transaction) -> None:
        real(self)
        for lane in self._lanes:
            lane.recorder._observer = lambda step, lane=lane: self._writing.record(lane)

    with patch.object(Transaction, "_commit_intents", at_once):
        yield


@contextmanager
def recovery_closes_first() -> Iterator[None]:
    """Recovery closes the run and then thaws: killed in between, nobody comes again."""
    real = Recovery._settle

    def closing(self: Recovery, case: Any, target: Target) -> None:
        self._journal.move(case.run, replace(target, state=State.RECOVERED), ())
        with suppress(Superseded):
            real(self, case, target)

    with patch.object(Recovery, "_settle", closing):
        yield


def recovery_of_the_living() -> AbstractContextManager[Any]:
    """Recovery takes every open run for a dead one."""
    return patch.object(Recovery, "is_abandoned", lambda self, run: True)


@contextmanager
def stuck_run_in_two_hands() -> Iterator[None]:
    """Everybody tries to thaw a stuck guest, also while somebody else is at it."""
    real = Recovery.is_abandoned

    def stuck_or_abandoned(self: Recovery, run: Run) -> bool:
        return run.state is State.STUCK or real(self, run)

    with patch.object(Recovery, "is_abandoned", stuck_or_abandoned):
        yield


@contextmanager
def discard_without_asking() -> Iterator[None]:
    """What was prepared for a cut that failed is removed, and the cut is not asked for."""

    def at_once(driver: Driver, plan: Plan, recorder: Recorder, deadline: Deadline, record: Callable[[], None]) -> None:
        settling.discard(driver, plan, recorder, deadline, record)

    with ExitStack() as stack:
        for module in (closing, recovery):
            stack.enter_context(patch.object(module, "settle_cut", at_once))
        yield


def lost_answer_taken_for_no() -> AbstractContextManager[Any]:
    """A write to the journal whose answer was lost is written again."""
    return patch.object(Lane, "in_doubt", property(lambda lane: False, lambda lane, value: None), create=True)


@contextmanager
def unknown_taken_for_failed() -> Iterator[None]:
    """A freeze without an answer is a freeze that was not sent."""
    real = evidence.freeze_may_hold

    def certain(steps: Sequence[Step]) -> bool:
        freeze = evidence.outcome_of(steps, Action.FREEZE)
        return real(steps) and (freeze is None or freeze.outcome is not Outcome.UNKNOWN)

    with ExitStack() as stack:
        for module in (window, evidence, policy, recovery, settling):
            stack.enter_context(patch.object(module, "freeze_may_hold", certain))
        yield


@contextmanager
def guard_armed_after_the_freeze() -> Iterator[None]:
    """The timer is started when the freeze has succeeded, as KubeVirt does."""
    arm, freeze = Transaction._arm, Window._freeze

    class Later:
        """Remembers what it was told of."""

        def __init__(self) -> None:
            self.arm: Callable[[], None]

        def within(self, seconds: float | None, *, answered: bool = False) -> None:
            pass

        def release(self) -> None:
            pass

    def later(self: Transaction, lane: Lane) -> None:
        if lane.freezes:
            lane.lease = Later()
            lane.lease.arm = lambda: arm(self, lane)

    def freeze_and_arm(self: Window, lane: Lane) -> Outcome:
        outcome = freeze(self, lane)
        assert isinstance(lane.lease, Later)
        lane.lease.arm()
        return outcome

    with patch.object(Transaction, "_arm", later), patch.object(Window, "_freeze", freeze_and_arm):
        yield


@contextmanager
def guard_released_before_the_thaw_is_confirmed() -> Iterator[None]:
    """The guard is let go when the thaw begins, for now we thaw ourselves."""
    real = Window._thaw

    def alone(self: Window, lane: Lane, lease: Lease, *, answered: bool) -> None:
        lease.release()
        real(self, lane, lease, answered=answered)

    with patch.object(Window, "_thaw", alone):
        yield


def guard_that_does_not_fence() -> AbstractContextManager[Any]:
    """The guard thaws past the deadline, and lets the hung orchestrator keep the agent's socket."""
    return patch.object(Host, "_send_signal", lambda self, process, number: None)


@contextmanager
def guard_that_does_not_watch() -> Iterator[None]:
    """The guard thaws once; the freeze that its orchestrator never had an answer to lands behind it.

    Histories seldom come there: the matrix does.
    """
    real = thawing.thaw_until_confirmed

    def unwatched(agent: Agent, recorder: Recorder, clock: Clock, limit: float, *, watch: bool) -> None:
        real(agent, recorder, clock, limit, watch=False)

    with patch.object(guard_main, "thaw_until_confirmed", unwatched):
        yield


def guard_that_thaws_for_ever() -> AbstractContextManager[Any]:
    """The guard does not look whether somebody else has settled the machine, which is frozen anew by now."""
    return patch.object(Record, "needed", True)


@contextmanager
def begun_copy_taken_for_a_backup() -> Iterator[None]:
    """What the cut began to copy counts as if it were published."""
    with ExitStack() as stack:
        for module in (policy, settling):
            stack.enter_context(patch.object(module, "making", lambda steps: Action.CUT))
        yield


@contextmanager
def copy_published_early() -> Iterator[None]:
    """The copy is published without a look at how far it is."""

    def look_once(driver: CopyingDriver, plan: Plan, *_: object) -> None:
        pass

    with patch.object(copying, "_follow", look_once):
        yield


@contextmanager
def fuse_promise_not_kept() -> Iterator[None]:
    """A fuse that cannot be lit is done without, whatever the job demands."""
    real = Transaction._light

    def trying(self: Transaction, lane: Lane) -> None:
        with suppress(CallError):
            real(self, lane)

    with patch.object(Transaction, "_light", trying):
        yield


@contextmanager
def fuse_lit_before_its_intent() -> Iterator[None]:
    """The fuse is lit with all else that is prepared, before the journal knows that there may be one."""
    prepare = Transaction._prepare

    def prepare_and_light(self: Transaction, lane: Lane) -> None:
        prepare(self, lane)
        light(self, lane)

    light = Transaction._light
    with (
        patch.object(Transaction, "_prepare", prepare_and_light),
        patch.object(Transaction, "_light", lambda self, lane: None),
    ):
        yield


def fuse_left_by_recovery() -> AbstractContextManager[Any]:
    """Recovery thaws, and leaves the fuse of the dead run to burn in somebody's next window."""
    return patch.object(Recovery, "_put_out_fuse", lambda *_: None)


def fuse_left_by_the_run() -> AbstractContextManager[Any]:
    """The run ends, and leaves its fuse to burn in somebody's next window."""
    return patch.object(Closing, "_put_out", lambda *_: None)


@contextmanager
def burnt_fuse_excused() -> Iterator[None]:
    """A thaw that finds nothing frozen comes after a fuse, which is one of ours: so the cut is called consistent."""
    real = policy.doubt_about

    def excusing(steps: Sequence[Step]) -> str | None:
        doubt = real(steps)
        lit = any(step.action is Action.FUSE and step.outcome is Outcome.DONE for step in steps)
        return None if doubt and lit and "found only 0" in doubt else doubt

    with patch.object(policy, "doubt_about", excusing):
        yield


MUTANTS: list[Mutant] = [
    thaw_only_after_a_successful_freeze,
    thaw_assumed,
    thaw_not_watched,
    intent_after_act,
    status_believed_over_count,
    cut_repeated,
    hold_limit_not_enforced,
    thaw_whatever_happened,
    stranger_thawed_by_hand,
    journal_written_in_the_window,
    recovery_closes_first,
    recovery_of_the_living,
    stuck_run_in_two_hands,
    discard_without_asking,
    lost_answer_taken_for_no,
    unknown_taken_for_failed,
    guard_armed_after_the_freeze,
    guard_released_before_the_thaw_is_confirmed,
    guard_that_does_not_fence,
    guard_that_thaws_for_ever,
    begun_copy_taken_for_a_backup,
    copy_published_early,
    fuse_promise_not_kept,
    fuse_lit_before_its_intent,
    fuse_left_by_recovery,
    fuse_left_by_the_run,
    burnt_fuse_excused,
]
