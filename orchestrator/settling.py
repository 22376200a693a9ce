"""How a target ends: what became of its cut, and what the journal says about it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TypeVar

from orchestrator.clock import Deadline, Task
from orchestrator.errors import CallError, JournalError, StuckUnjournaled, Superseded
from orchestrator.evidence import freeze_may_hold, making, outcome_of
from orchestrator.model import Action, Outcome, Step, Target
from orchestrator.policy import Verdict
from orchestrator.ports import Driver, Plan
from orchestrator.recorder import Recorder
from orchestrator.retrying import until_answered

T = TypeVar("T")


def cut_is_settled(steps: Sequence[Step]) -> bool:
    """Whether the cut was made, and published if it only began a copy; or was found by its name; or what was prepared
    for it is removed.
    """
    ends = {making(steps), Action.DISCARD}
    return any(
        step.outcome is Outcome.DONE and (step.action in ends or step.figures.get("happened") is True) for step in steps
    )


def settle_cut(driver: Driver, plan: Plan, recorder: Recorder, deadline: Deadline, record: Callable[[], None]) -> None:
    """Ask for a cut by its name and remove what was prepared for it if it did not happen.

    Never raises CallError: what could not be told or removed is written down. `record` commits the
    steps so far; what it raises passes through, and then nothing was removed. What is certainly not published is
    not asked for: a repository that is away must not keep the copy from being ended.
    """
    published = outcome_of(recorder.steps, Action.PUBLISH)
    if published is not None and published.outcome is Outcome.FAILED:
        discard(driver, plan, recorder, deadline, record)
        return
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
    for action in (making(steps), Action.VERIFY):
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


@contextmanager
def saying_how_the_guest_is(machine: str, steps: Callable[[], Sequence[Step]]) -> Iterator[None]:
    """Within the `with`, an error of the journal says what the journal was not told: StuckUnjournaled when the guest
    may still be frozen. Superseded stays as it is: who took the run over looks after the guest.
    """
    try:
        yield
    except Superseded:
        raise
    except JournalError as error:
        if freeze_may_hold(steps()):
            raise StuckUnjournaled(f"{error}; {machine} may still be frozen") from error
        raise type(error)(f"{error}; {machine} is thawed") from error


def results(tasks: Sequence[Task[T]]) -> list[T]:
    """What all the tasks returned, once they have ended. Raises the gravest of their errors."""
    for task in tasks:
        task.join()
    errors = [task.error for task in tasks if task.error is not None]
    if errors:
        raise gravest(errors)
    return [task.result() for task in tasks]


def gravest(errors: Sequence[BaseException]) -> BaseException:
    """The first error, but before all others one that tells of a guest that may be frozen."""
    return max(errors, key=lambda error: isinstance(error, StuckUnjournaled))
