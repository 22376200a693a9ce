"""What the steps of a target tell of its guest and its cut. Pure: steps in, facts out."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.model import Action, FreezeStatus, OsInfo, Outcome, Run, State, Step, Target

_DAY = timedelta(days=1)

#: What a target says that was closed by an operator's word.
NOT_PROVEN = "an operator's word, not a confirmed thaw"


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


def holding(steps: Sequence[Step]) -> Step | None:
    """The intent by which the guest may be frozen now; None when `freeze_may_hold` says that it is not."""
    if not freeze_may_hold(steps):
        return None
    return next(step for step in steps if step.action in {Action.FREEZE, Action.THAW})


def held_by_other(steps: Sequence[Step]) -> bool:
    """Whether our freeze was turned away by a guest that was frozen already."""
    freeze = outcome_of(steps, Action.FREEZE)
    return (
        freeze is not None
        and not freeze.figures.get("sent", True)
        and freeze.figures.get("status") == FreezeStatus.FROZEN
    )


def making(steps: Sequence[Step]) -> Action:
    """The action that makes the cut: publishing, when the cut itself only began a copy."""
    return Action.PUBLISH if any(step.action is Action.COPY for step in steps) else Action.CUT


def cut_was_made(steps: Sequence[Step]) -> bool:
    """Whether the cut answered that it was made; of what it only began, nothing is known by that."""
    cut = outcome_of(steps, Action.CUT)
    return cut is not None and cut.outcome is Outcome.DONE


def fuse_may_burn(steps: Sequence[Step]) -> bool:
    """Whether a fuse may be lit in the guest: the intent to light one alone counts, as with a freeze."""
    return next((step.figures.get("lit", True) for step in reversed(steps) if step.action is Action.FUSE), False)


def listed(steps: Sequence[Step]) -> int | None:
    """How many file systems the guest had before its freeze; None when it did not tell."""
    intents = (step for step in reversed(steps) if step.action is Action.FREEZE and step.outcome is Outcome.INTENT)
    intent = next(intents, None)
    return intent.figures.get("filesystems") if intent else None


def is_windows(steps: Sequence[Step]) -> bool:
    checked = outcome_of(steps, Action.PREFLIGHT)
    system = checked.figures.get("os") if checked else None
    return system is not None and OsInfo(**system).windows


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


def confirmed(steps: Sequence[Step]) -> Step | None:
    """The step that first confirmed the last thaw; later ones only watched that it stays so."""
    confirmed = None
    for step in steps:
        if step.action is Action.THAW:
            confirmed = None
        elif step.action is Action.CONFIRM and step.outcome is Outcome.DONE:
            confirmed = confirmed or step
    return confirmed


def window_by_wall_clock(steps: Sequence[Step]) -> float | None:
    """Milliseconds from the intent to freeze to the confirmed thaw, when not one process made both steps: then
    their monotonic times do not compare, and when the freeze was sent is not known any better.
    """
    intent = next((s for s in reversed(steps) if s.action is Action.FREEZE and s.outcome is Outcome.INTENT), None)
    confirm = confirmed(steps)
    if intent is None or confirm is None:
        return None
    return max(0.0, (confirm.at - intent.at).total_seconds() * 1000)


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


def with_what_was_left(error: str, steps: Sequence[Step]) -> str:
    """`error`, and why what was prepared for the cut, or a cut that nobody knows of, may still be there."""
    settling = [s for s in steps if s.action in {Action.VERIFY, Action.DISCARD} and s.outcome is not Outcome.INTENT]
    if not settling or settling[-1].error is None:
        return error
    return f"{error}; not cleaned up: {settling[-1].error}"
