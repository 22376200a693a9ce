"""What the steps of a target prove, and what follows from it. Pure: steps in, verdict out.

The verdict is drawn from the journaled steps alone, so that recovery, in another process, comes to the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.evidence import (
    confirmed,
    freeze_may_hold,
    held_by_other,
    is_windows,
    last_error,
    listed,
    making,
    outcome_of,
    with_what_was_left,
)
from orchestrator.model import (
    Action,
    Consistency,
    Cut,
    Job,
    OsInfo,
    Outcome,
    Proof,
    Quiesce,
    Run,
    State,
    Step,
)

#: Seconds after which Windows lets go by itself ("fsfreeze is limited up to 10 seconds": QEMU, qga/vss-win32), for
#: which it is held at most, and which it may take to freeze ("VSS can take up to 60 seconds": KubeVirt, virt-handler).
_VSS_LETS_GO, _VSS_HOLD, _VSS_FREEZE = 10.0, 9.0, 60.0
#: From the best to none.
_BEST_FIRST = (Consistency.APPLICATION, Consistency.FILESYSTEM, Consistency.CRASH, Consistency.NONE)


@dataclass(frozen=True)
class Verdict:
    """How a target ended, and why."""

    state: State
    consistency: Consistency
    window_ms: float | None
    hold_ms: float | None
    error: str | None


@dataclass(frozen=True)
class Limits:
    """How long one guest's window may take, in seconds: see `Job`."""

    freeze_timeout: float
    hold_limit: float


def limits_of(job: Job, system: OsInfo | None) -> Limits:
    """The job's limits, as far as the guest's operating system can keep them.

    Windows freezes by VSS, which may take a minute to begin, and then holds for a few seconds only. A freeze that is
    given up too early lands all the same, so the shorter time is not the safer one.
    """
    if system is None or not system.windows:
        return Limits(job.freeze_timeout, job.hold_limit)
    return Limits(max(job.freeze_timeout, _VSS_FREEZE), min(job.hold_limit, _VSS_HOLD))


def judge(quiesce: Quiesce, steps: Sequence[Step]) -> Verdict:
    """The verdict on one target after its window.

    `stuck` whenever a freeze may have been sent and no thaw is confirmed after it. `refused` when somebody else had
    frozen the guest just before. Otherwise `done` when there is a cut, it is proven to be as consistent as
    `quiesce` demands, and nothing was found wrong with it; `failed` when not.
    """
    if freeze_may_hold(steps):
        return _verdict(State.STUCK, _consistency_of_cut(steps), steps, last_error(steps, Action.THAW, Action.CONFIRM))
    consistency = _consistency_of_cut(steps)
    if consistency is Consistency.NONE:
        state = State.REFUSED if held_by_other(steps) else State.FAILED
        return _verdict(state, consistency, steps, _why_no_cut(steps))
    distrust = last_error(steps, Action.EXAMINE)
    if distrust is not None:
        return _verdict(State.FAILED, consistency, steps, f"it is there, but its examination failed: {distrust}")
    doubt = doubt_about(steps)
    if quiesce is Quiesce.OFF:
        return _verdict(State.DONE, consistency, steps, None)
    if doubt is not None and quiesce is Quiesce.REQUIRED:
        return _verdict(State.FAILED, consistency, steps, f"the snapshot is only crash-consistent: {doubt}")
    return _verdict(State.DONE, consistency, steps, doubt)


def cut_of(steps: Sequence[Step]) -> Cut:
    """What the steps tell of a cut that was made and whose window is over."""
    made = outcome_of(steps, Action.CUT)
    assert made is not None
    freeze, checked = outcome_of(steps, Action.FREEZE), outcome_of(steps, Action.PREFLIGHT)
    verdict = _verdict(State.RUNNING, _proven(steps), steps, None)
    intended = next((step.figures for step in steps if step.action is Action.FREEZE), {})
    thaws = [step for step in steps if step.action is Action.THAW and step.outcome is Outcome.DONE]
    system = checked and checked.figures.get("os")
    return Cut(
        made.at,
        verdict.consistency,
        Proof(
            frozen=freeze.figures.get("frozen") if freeze else None,
            thawed=thaws[0].figures["thawed"] if thaws else None,
            hold_ms=verdict.hold_ms,
            window_ms=verdict.window_ms,
            mountpoints=tuple(intended.get("mountpoints", ())),
        ),
        guest_os=OsInfo(**system) if system else None,
    )


def shortest_fuse(freeze_timeout: float, hold_limit: float) -> float:
    """The seconds that a fuse must last at least, so that none burns in a window that keeps its limits.

    Beside freeze and hold, these are 15: ten for the other guests of a group to light theirs, five for the thaw.
    """
    return freeze_timeout + hold_limit + 15.0


def doubt_about(steps: Sequence[Step]) -> str | None:
    """Why the cut is not proven to be frozen throughout; None when it is proven.

    Proof: the guest froze N > 0 file systems and no more than it has, the cut began after the freeze's answer and ended
    before the first thaw was sent, and the first thaw that was answered counted exactly N still frozen. The agent's
    `guest-fsfreeze-status` is no proof: it goes on saying `frozen` after the file systems were thawed by another hand,
    which only the count shows.
    """
    freeze, cut = outcome_of(steps, Action.FREEZE), outcome_of(steps, Action.CUT)
    thaws = [step for step in steps if step.action is Action.THAW and step.outcome is not Outcome.INTENT]
    if freeze is None:
        checked = outcome_of(steps, Action.PREFLIGHT)
        return (checked and checked.figures.get("not_frozen")) or "the guest was not frozen"
    if freeze.figures.get("by_driver"):
        return f"the freeze is not proven: {freeze.error}"
    if freeze.outcome is not Outcome.DONE:
        return f"the freeze did not succeed: {freeze.error}"
    frozen, there = freeze.figures["frozen"], listed(steps)
    if there is not None and frozen > there:
        return f"the guest counted {frozen} frozen file systems, and has {there}"
    if cut is None or cut.outcome is not Outcome.DONE:
        return "it is not known when the cut was made"
    if cut.began < freeze.monotonic:
        return "the cut began before the guest was frozen"
    if not thaws or cut.monotonic > thaws[0].began:
        return "the cut ended after the guest was thawed"
    held = thaws[0].began - freeze.monotonic
    if is_windows(steps) and held > _VSS_LETS_GO:
        return f"the guest was held for {held:.1f} s, and Windows lets go by itself after {_VSS_LETS_GO:g}"
    # The first count alone: what a later thaw finds, somebody has frozen since.
    found = next((step.figures["thawed"] for step in thaws if step.outcome is Outcome.DONE), 0)
    if found != frozen:
        only = "only " if found < frozen else ""
        return f"{frozen} file systems were frozen, but the thaw found {only}{found} still frozen"
    return None


def worst_consistency(consistencies: Sequence[Consistency]) -> Consistency:
    """What can be said of a run whose targets have these."""
    return max(consistencies, key=_BEST_FIRST.index, default=Consistency.NONE)


def is_degraded(job: Job | None, state: State, consistency: Consistency) -> bool:
    """Whether a run, or a target of it, is done at a lower consistency than its job wants."""
    wants_freeze = job is not None and job.quiesce is not Quiesce.OFF
    return wants_freeze and state is State.DONE and not consistency.proven


def exit_code(run: Run) -> int:
    """The exit code that tells a script how a run ended: see the table in the README."""
    match run.state:
        case State.DONE if any(step.action is Action.HOOK and step.error for step in run.steps):
            return 1
        case State.DONE:
            return 4 if is_degraded(run.job, run.state, run.consistency) else 0
        case State.REFUSED:
            return 5
        case State.STUCK | State.RUNNING:  # running: in the hands of another process, which took it over
            return 3
        case _:
            return 1


def _consistency_of_cut(steps: Sequence[Step]) -> Consistency:
    cut, verify = outcome_of(steps, making(steps)), outcome_of(steps, Action.VERIFY)
    made = cut is not None and cut.outcome is Outcome.DONE
    found = verify is not None and verify.figures.get("happened") is True
    if not made and not found:
        return Consistency.NONE
    return _proven(steps)


def _proven(steps: Sequence[Step]) -> Consistency:
    """What is known about a cut that was made."""
    if doubt_about(steps) is not None:
        return Consistency.CRASH
    hooks = outcome_of(steps, Action.ASK)
    ran = hooks is not None and hooks.outcome is Outcome.DONE and hooks.figures.get("hooks_ran") is True
    return Consistency.APPLICATION if ran else Consistency.FILESYSTEM


def _why_no_cut(steps: Sequence[Step]) -> str:
    errors = [
        step.error
        for actions in ({Action.COPY, Action.PUBLISH}, {Action.FREEZE, Action.CUT})
        for step in steps
        if step.error and step.action in actions
    ]
    return with_what_was_left(errors[0] if errors else "no cut was made", steps)


def _verdict(state: State, consistency: Consistency, steps: Sequence[Step], error: str | None) -> Verdict:
    freeze = outcome_of(steps, Action.FREEZE)
    window = hold = None
    if freeze is not None and freeze.figures.get("sent", True):
        thaws = [s for s in steps if s.action is Action.THAW and s.outcome is Outcome.DONE]
        confirm = confirmed(steps)
        window = None if confirm is None else (confirm.monotonic - freeze.began) * 1000
        hold = (thaws[0].monotonic - freeze.monotonic) * 1000 if thaws and freeze.outcome is Outcome.DONE else None
    return Verdict(state, consistency, window, hold, error)
