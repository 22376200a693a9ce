"""An agent that was passed by: it still believes in a freeze of ours, though the second way has thawed its guest.

It refuses every run until it is told. What tells it, a thaw, lets go whatever is frozen, so it must be certain that
nobody else's freeze is. Why these are the signs for that: docs/decisions/0009-stuck-and-leases.md.
"""

from collections.abc import Sequence

from orchestrator.clock import Deadline
from orchestrator.model import Action, FreezeStatus, Machine, Outcome, Run, State, Step, Way
from orchestrator.ports import Agent, Journal

#: Runs among which the one is looked for that froze last: those since, which found the agent mute or frozen.
_LOOK_BACK = 100
#: What only an agent can do that does not believe to have frozen, or what makes a new one of it.
_NOT_FROZEN = {Action.ASK, Action.POWER, Action.CHANNEL}


def left_by(journal: Journal, machine: Machine, host: str, agent: Agent, deadline: Deadline) -> Run | None:
    """The run of this `host` in whose freeze the agent still believes, and nobody else does; None: it is not certain.

    The agent says `frozen` and the second way `thawed`; and by the journal the last that reached the agent was
    our freeze, whose thaw was confirmed by the second way. Raises JournalError, and CallError when one of the two does
    not answer.
    """
    if agent.other is None:
        return None
    run = _last_freeze(journal, machine, host, agent.way)
    if run is None or agent.freeze_status(deadline) is not FreezeStatus.FROZEN:
        return None
    return run if agent.other.freeze_status(deadline) is FreezeStatus.THAWED else None


def _last_freeze(journal: Journal, machine: Machine, host: str, way: Way) -> Run | None:
    for summary in journal.history(_LOOK_BACK, machine=machine.name):
        target = summary.target(machine.name)
        if target.state is State.REFUSED:
            continue  # It was not touched.
        if summary.owner.host != host or target.machine != machine:
            return None  # Who knows which agent that was.
        run = journal.run(summary.id)
        left = is_left(run.steps_of(machine.name), way)
        if left is not None:
            return run if left else None
    return None


def is_left(steps: Sequence[Step], way: Way) -> bool | None:
    """Whether the agent on the first `way` was left in its belief by these steps of one run; None: they do not tell."""
    passed_by = False
    for step in reversed(steps):
        if step.action is Action.FREEZE and step.outcome is not Outcome.INTENT and step.figures.get("sent", True):
            return passed_by
        if step.outcome is not Outcome.DONE:
            continue
        if step.action in {Action.THAW, Action.CONFIRM}:
            if step.figures.get("way", way) == way:
                return False
            passed_by |= step.action is Action.CONFIRM
        elif step.action in _NOT_FROZEN or "agent" in step.figures:
            return False
    return None
