"""A past for the page to show: runs in a real journal, with the steps that the product writes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.journal import SqlJournal
from orchestrator.model import Action, Consistency, Job, Machine, Outcome, Owner, Run, State, Step, Target, Trigger

OWNER = Owner("host", "boot", 1, 100)

#: What the steps of a good backup take, in milliseconds: of each action, and how long after it the next begins.
GOOD = (
    (Action.PREFLIGHT, 180.0, 1.0),
    (Action.PREPARE, 740.0, 4.0),
    (Action.FLUSH, 1210.0, 6.0),
    (Action.FREEZE, 31.0, 1.0),
    (Action.CUT, 14.0, 0.5),
    (Action.THAW, 6.0, 0.4),
    (Action.CONFIRM, 1.2, 9.0),
    (Action.COPY, 92_400.0, 3.0),
    (Action.PUBLISH, 310.0, 0.0),
)


def steps(machine: str, at: datetime, plan: Iterable[tuple[Action, float, float]] = GOOD) -> list[Step]:
    """The steps of a plan that began then."""
    found, after = [], 0.0
    for action, took, pause in plan:
        if action is Action.FREEZE:
            intents = (Action.FREEZE, Action.CUT, Action.THAW)
            found += [_step(machine, at, each, Outcome.INTENT, after, None) for each in intents]
        after += took
        found.append(_step(machine, at, action, Outcome.DONE, after, took))
        after += pause
    return found


def _step(machine: str, at: datetime, action: Action, outcome: Outcome, after: float, took: float | None) -> Step:
    figures: dict[Action, dict[str, object]] = {
        Action.FREEZE: {"frozen": 2},
        Action.THAW: {"thawed": 2},
        Action.CONFIRM: {"status": "thawed"},
    }
    shown = figures.get(action, {}) if outcome is Outcome.DONE else {}
    return Step(machine, action, outcome, at + timedelta(milliseconds=after), 500 + after / 1000, took, shown)


class Past:
    """Writes runs into a journal as if they had happened."""

    def __init__(self, journal: SqlJournal) -> None:
        self._journal = journal

    def run(
        self,
        run_id: str,
        *machines: str,
        at: datetime,
        job: str | None = "nightly",
        state: State = State.DONE,
        consistency: Consistency = Consistency.FILESYSTEM,
        window_ms: float | None = 52.6,
        error: str | None = None,
        made: Sequence[Step] | None = None,
    ) -> Run:
        """A run that ended so, or that is still open."""
        targets = tuple(Target(Machine(name, agent=f"/run/{name}.sock")) for name in machines)
        spec = None if job is None else Job(job, machines, "backup")
        run = Run(run_id, spec, Trigger.SCHEDULE, OWNER, at, targets)
        run = self._journal.open_run(run)
        for target in run.targets:
            name = target.machine.name
            found = steps(name, at) if made is None else [replace(step, machine=name) for step in made]
            running = replace(target, state=State.RUNNING)
            self._journal.move(run, running, found)
            if state is not State.RUNNING:
                hold = None if window_ms is None else window_ms * 0.4
                ended = replace(running, state=state, consistency=consistency, window_ms=window_ms, hold_ms=hold)
                self._journal.move(run, replace(ended, error=error), ())
        return self._journal.run(run_id)
