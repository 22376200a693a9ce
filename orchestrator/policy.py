"""What the steps of a target prove, and what follows from it. Pure: steps in, verdict out.

The verdict is drawn from the journaled steps alone, so that recovery, in another process, comes to the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.model import (
    Action,
    Consistency,
    Cut,
    FreezeStatus,
    Job,
    OsInfo,
    Outcome,
    Proof,
    Quiesce,
    Run,
    State,
    Step,
    Target,
)

#: Seconds after which Windows lets go by itself ("fsfreeze is limited up to 10 seconds": QEMU, qga/vss-win32), for
#: which it is held at most, and which it may take to freeze ("VSS can take up to 60 seconds": KubeVirt, virt-handler).
_VSS_LETS_GO, _VSS_HOLD, _VSS_FREEZE = 10.0, 9.0, 60.0
#: From the best to none.
_BEST_FIRST = (Consistency.APPLICATION, Consistency.FILESYSTEM, Consistency.CRASH, Consistency.NONE)

_DAY = timedelta(days=1)

#: What a target says that was closed by an operator's word.
NOT_PROVEN = "an operator's word, not a confirmed thaw"


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


def freeze_may_hold(steps: Sequence[Step]) -> bool:
    """Whether the guest may be frozen: a freeze, or a thaw by hand, was intended, and neither was the freeze certainly
    not sent, nor is a thaw after it confirmed.

    The intent alone counts: it is committed before the freeze is sent, so after a crash nobody knows better. An
    operator may give their word for a thaw that nobody can confirm.
    """
    frozen = False
    for step in steps:
        if step.action is Action.FREEZE:
            frozen = step.figures.get("sent", True)
        elif step.action is Action.THAW and step.outcome is Outcome.INTENT:
            frozen = True
        elif step.action is Action.CONFIRM:
            frozen = step.outcome is not Outcome.DONE and _word(step) is None
    return frozen


def making(steps: Sequence[Step]) -> Action:
    """The action that makes the cut: publishing, when the cut itself only began a copy."""
    return Action.PUBLISH if any(step.action is Action.COPY for step in steps) else Action.CUT


def cut_was_made(steps: Sequence[Step]) -> bool:
    """Whether the cut answered that it was made; of what it only began, nothing is known by that."""
    cut = outcome_of(steps, Action.CUT)
    return cut is not None and cut.outcome is Outcome.DONE


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


def fuse_may_burn(steps: Sequence[Step]) -> bool:
    """Whether a fuse may be lit in the guest: the intent to light one alone counts, as with a freeze."""
    return next((step.figures.get("lit", True) for step in reversed(steps) if step.action is Action.FUSE), False)


def shortest_fuse(freeze_timeout: float, hold_limit: float) -> float:
    """The seconds that a fuse must last at least, so that none burns in a window that keeps its limits.

    Beside freeze and hold, these are 15: ten for the other guests of a group to light theirs, five for the thaw.
    """
    return freeze_timeout + hold_limit + 15.0


def operators_word(steps: Sequence[Step]) -> str | None:
    """Why an operator says that the guest is not frozen, or is no more, where no thaw is confirmed."""
    return next((word for step in reversed(steps) if (word := _word(step)) is not None), None)


def _word(step: Step) -> str | None:
    return step.figures.get("reason") if step.action is Action.CONFIRM else None


def leased_until(run: Run) -> datetime:
    """Until when the process that has the run in hand is not to be disturbed, if nobody can tell whether it lives.

    Its recovery's own word, or that of the freeze (`until` in its intent); without a freeze that may hold nothing is
    urgent: a day after its last entry.
    """
    if run.owner.until is not None:
        return run.owner.until
    machines = [target.machine.name for target in run.targets]
    frozen = [name for name in machines if freeze_may_hold(run.steps_of(name))]
    ends = [
        datetime.fromisoformat(s.figures["until"]) for s in run.steps if s.machine in frozen and "until" in s.figures
    ]
    return max(ends, default=max((step.at for step in run.steps), default=run.started_at) + _DAY)


def uses_agent(run: Run, target: Target) -> bool:
    """Whether a run at work wants the agent of an open target for itself: until the journal knows it to be thawed."""
    return target.state is not State.STUCK and (
        target.state is State.PENDING or freeze_may_hold(run.steps_of(target.machine.name))
    )


def is_news(before: Sequence[Step], tried: Sequence[Step], now: datetime) -> bool:
    """Whether the history of a stuck target takes one more try that did not settle it.

    It does when something came of it that never did before, and else when twice the time has passed since the first
    entry as at the last one, or a day: so a year of tries, one each minute, is some hundred entries.
    """
    seen = {(step.action, step.outcome) for step in before}
    if not seen.issuperset((step.action, step.outcome) for step in tried):
        return True
    return now - before[-1].at > min(before[-1].at - before[0].at, _DAY)


def held_by_other(steps: Sequence[Step]) -> bool:
    """Whether our freeze was turned away by a guest that was frozen already."""
    freeze = outcome_of(steps, Action.FREEZE)
    return (
        freeze is not None
        and not freeze.figures.get("sent", True)
        and freeze.figures.get("status") == FreezeStatus.FROZEN
    )


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
    frozen, listed = freeze.figures["frozen"], _listed(steps)
    if listed is not None and frozen > listed:
        return f"the guest counted {frozen} frozen file systems, and has {listed}"
    if cut is None or cut.outcome is not Outcome.DONE:
        return "it is not known when the cut was made"
    if cut.began < freeze.monotonic:
        return "the cut began before the guest was frozen"
    if not thaws or cut.monotonic > thaws[0].began:
        return "the cut ended after the guest was thawed"
    held = thaws[0].began - freeze.monotonic
    if _is_windows(steps) and held > _VSS_LETS_GO:
        return f"the guest was held for {held:.1f} s, and Windows lets go by itself after {_VSS_LETS_GO:g}"
    # The first count alone: what a later thaw finds, somebody has frozen since.
    found = next((step.figures["thawed"] for step in thaws if step.outcome is Outcome.DONE), 0)
    if found != frozen:
        only = "only " if found < frozen else ""
        return f"{frozen} file systems were frozen, but the thaw found {only}{found} still frozen"
    return None


def _listed(steps: Sequence[Step]) -> int | None:
    """How many file systems the guest had before its freeze; None when it did not tell."""
    intents = (step for step in reversed(steps) if step.action is Action.FREEZE and step.outcome is Outcome.INTENT)
    intent = next(intents, None)
    return intent.figures.get("filesystems") if intent else None


def _is_windows(steps: Sequence[Step]) -> bool:
    checked = outcome_of(steps, Action.PREFLIGHT)
    system = checked.figures.get("os") if checked else None
    return system is not None and OsInfo(**system).windows


def with_what_was_left(error: str, steps: Sequence[Step]) -> str:
    """`error`, and why what was prepared for the cut, or a cut that nobody knows of, may still be there."""
    settling = [s for s in steps if s.action in {Action.VERIFY, Action.DISCARD} and s.outcome is not Outcome.INTENT]
    if not settling or settling[-1].error is None:
        return error
    return f"{error}; not cleaned up: {settling[-1].error}"


def dangling(steps: Sequence[Step]) -> list[Action]:
    """The actions whose last step is an intent."""
    last = {step.action: step.outcome for step in steps}
    return [action for action, outcome in last.items() if outcome is Outcome.INTENT]


def outcome_of(steps: Sequence[Step], action: Action) -> Step | None:
    """The last outcome of `action`, or None when it has none."""
    return next((s for s in reversed(steps) if s.action is action and s.outcome is not Outcome.INTENT), None)


def last_error(steps: Sequence[Step], *actions: Action) -> str | None:
    """The last error among the steps of `actions`."""
    return next((step.error for step in reversed(steps) if step.error and step.action in actions), None)


def worst_consistency(consistencies: Sequence[Consistency]) -> Consistency:
    """What can be said of a run whose targets have these."""
    return max(consistencies, key=_BEST_FIRST.index, default=Consistency.NONE)


def exit_code(run: Run) -> int:
    """The exit code that tells a script how a run ended: see the table in the README."""
    match run.state:
        case State.DONE if any(step.action is Action.HOOK and step.error for step in run.steps):
            return 1
        case State.DONE:
            wanted = run.job is None or run.job.quiesce is Quiesce.OFF
            return 0 if wanted or run.consistency in {Consistency.APPLICATION, Consistency.FILESYSTEM} else 4
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


def window_by_wall_clock(steps: Sequence[Step]) -> float | None:
    """Milliseconds from the intent to freeze to the confirmed thaw, when not one process made both steps: then
    their monotonic times do not compare, and when the freeze was sent is not known any better.
    """
    intent = next((s for s in reversed(steps) if s.action is Action.FREEZE and s.outcome is Outcome.INTENT), None)
    confirm = _confirmed(steps)
    if intent is None or confirm is None:
        return None
    return max(0.0, (confirm.at - intent.at).total_seconds() * 1000)


def _confirmed(steps: Sequence[Step]) -> Step | None:
    """The step that first confirmed the last thaw; later ones only watched that it stays so."""
    confirmed = None
    for step in steps:
        if step.action is Action.THAW:
            confirmed = None
        elif step.action is Action.CONFIRM and step.outcome is Outcome.DONE:
            confirmed = confirmed or step
    return confirmed


def _verdict(state: State, consistency: Consistency, steps: Sequence[Step], error: str | None) -> Verdict:
    freeze = outcome_of(steps, Action.FREEZE)
    window = hold = None
    if freeze is not None and freeze.figures.get("sent", True):
        thaws = [s for s in steps if s.action is Action.THAW and s.outcome is Outcome.DONE]
        confirm = _confirmed(steps)
        window = None if confirm is None else (confirm.monotonic - freeze.began) * 1000
        hold = (thaws[0].monotonic - freeze.monotonic) * 1000 if thaws and freeze.outcome is Outcome.DONE else None
    return Verdict(state, consistency, window, hold, error)
