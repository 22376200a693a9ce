"""How a target ended, for people: what happened, on which machine, how the guest is now, and what to do next."""

from orchestrator import evidence
from orchestrator.escape import escape
from orchestrator.model import Action, Run, State, Target, Trigger

_NEXT = {
    State.REFUSED: "`quiesce check {machine}` says what holds it.",
    State.CANCELLED: "run the job again when it suits.",
    State.DONE: "`quiesce show {run}` shows why.",
}
_NEXT_BY_HAND = "`quiesce show {run}` shows the steps."
_NEXT_OTHERWISE = "`quiesce show {run}` shows the steps; put it right and run the job again."
_NEXT_WHEN_STUCK = (
    "`quiesce thaw {machine}`; without success, `fsfreeze -u` on the guest's console, or reset the guest, "
    "and then `quiesce thaw {machine} --force --reason TEXT`."
)


def line(run: Run, target: Target) -> str:
    """One line on one target of a run. Without the run's steps it takes a guest that was frozen for one that was not,
    except for a stuck one.
    """
    machine = escape(target.machine.name)
    what = escape(target.error or "no reason is known").rstrip(".")
    otherwise = _NEXT_OTHERWISE if run.job is not None or run.trigger is Trigger.THAW else _NEXT_BY_HAND
    next_step = _NEXT.get(target.state, otherwise).format(machine=machine, run=escape(run.id))
    if target.state is State.STUCK:
        next_step = when_stuck(machine)
    return f"{target.state.upper()} {machine}: {what}. {_guest(run, target)} Next: {next_step}"


def when_stuck(machine: str) -> str:
    """What to do about a stuck guest; `machine` is escaped."""
    return _NEXT_WHEN_STUCK.format(machine=machine)


def _guest(run: Run, target: Target) -> str:
    """What is known about the guest now."""
    if target.state in {State.STUCK, State.RUNNING}:  # running: in the hands of another process
        return "The guest MAY STILL BE FROZEN."
    if target.state is State.REFUSED:
        return "This run did not freeze the guest."
    if evidence.operators_word(run.steps_of(target.machine.name)) is not None:
        return "That the guest is thawed, or gone, is not proven."
    freezes = [step for step in run.steps_of(target.machine.name) if step.action is Action.FREEZE]
    if freezes and freezes[-1].figures.get("sent", True):
        return "The guest is thawed."
    return "The guest was never frozen."
