"""How a target ends: what became of its cut, and what the journal says about it."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from orchestrator.clock import Deadline
from orchestrator.errors import CallError
from orchestrator.model import Action, Outcome, Step, Target
from orchestrator.policy import Verdict, outcome_of
from orchestrator.ports import Driver, Plan
from orchestrator.recorder import Recorder
from orchestrator.retrying import until_answered


def cut_is_settled(steps: Sequence[Step]) -> bool:
    """Whether the cut was made, was found by its name, or what was prepared for it is removed."""
    return any(
        step.outcome is Outcome.DONE
        and (step.action in {Action.CUT, Action.DISCARD} or step.figures.get("happened") is True)
        for step in steps
    )


def settle_cut(driver: Driver, plan: Plan, recorder: Recorder, deadline: Deadline, record: Callable[[], None]) -> None:
    """Ask for a cut by its name and remove what was prepared for it if it did not happen.

    Never raises CallError: what could not be told or removed is written down. `record` commits the
    steps so far; what it raises passes through, and then nothing was removed.
    """
    with suppress(CallError):
        with recorder.act(Action.VERIFY) as figures:
            made = until_answered(deadline)(driver.happened, plan, deadline)
            figures["happened"] = made is not None
            figures["made"] = made
        if made is None:
            discard(driver, plan, recorder, deadline, record)


def discard(driver: Driver, plan: Plan, recorder: Recorder, deadline: Deadline, record: Callable[[], None]) -> None:
    """Remove what was prepared for a cut that certainly did not happen. Otherwise as `settle_cut`."""
    recorder.intend(Action.DISCARD)
    record()
    with suppress(CallError), recorder.act(Action.DISCARD):
        driver.discard(plan, deadline)


def settled(target: Target, verdict: Verdict, snapshot: str, steps: Sequence[Step]) -> Target:
    """The target as `verdict` leaves it, with the snapshot that the steps speak of."""
    made = None
    for action in (Action.CUT, Action.VERIFY):
        step = outcome_of(steps, action)
        made = (step and step.figures.get("made")) or made
    return replace(
        target,
        state=verdict.state,
        consistency=verdict.consistency,
        window_ms=verdict.window_ms,
        hold_ms=verdict.hold_ms,
        error=verdict.error,
        snapshot=None if made is None else {"name": snapshot, **made},
    )
