"""Metrics with something in them: a journal with one run of each kind, and what a process saw."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from orchestrator.journal import SqlJournal
from orchestrator.metrics import Events, History, QueueLength, render
from orchestrator.model import (
    Action,
    Coming,
    Consistency,
    Job,
    Machine,
    Outcome,
    Sight,
    Sighting,
    State,
    Step,
)
from tests.journals import NOW, StoppedClock, a_run

HOUR = timedelta(hours=1)


@dataclass
class Configured:
    """What is configured: two jobs, of which one is paused, over four machines."""

    machines: Mapping[str, Machine] = field(
        default_factory=lambda: {name: Machine(name, agent=f"/{name}") for name in ("db1", "db2", "db3", "edge1")}
    )
    jobs: Mapping[str, Job] = field(
        default_factory=lambda: {
            "nightly": Job("nightly", ("db1", "db2", "db3"), "command", schedule="0 2 * * *"),
            "by-hand": Job("by-hand", ("edge1",), "command"),
        }
    )


def a_moment(machine: str, action: Action, outcome: Outcome, ago: float, duration_ms: float | None = None) -> Step:
    """A step so many seconds ago."""
    return Step(machine, action, outcome, NOW - timedelta(seconds=ago), 100.0 - ago, duration_ms)


def fill(journal: SqlJournal, events: Events) -> None:
    """One good run, one that failed, one in its window, one that is stuck, and one of a job that is no more."""
    good: dict[str, Any] = {"consistency": Consistency.FILESYSTEM, "window_ms": 120.0, "hold_ms": 20.0}
    for number, (machine, state, fields, job) in enumerate(
        [
            ("db1", State.DONE, good, "nightly"),
            ("db1", State.FAILED, {"error": "no"}, "nightly"),
            ("db1", State.DONE, {"consistency": Consistency.CRASH}, "gone"),
            ("db2", State.RUNNING, {}, "nightly"),
            ("db3", State.STUCK, {"error": "no answer"}, "nightly"),
        ]
    ):
        run = journal.open_run(a_run(f"r{number}", machine, job=job, at=NOW - HOUR))
        target = replace(run.targets[0], state=State.RUNNING)
        intents = [a_moment(machine, Action.FREEZE, Outcome.INTENT, 90 + number)]
        steps = [a_moment(machine, Action.FREEZE, Outcome.DONE, 80, 75.0)]
        if state in {State.DONE, State.FAILED}:
            steps += [a_moment(machine, action, Outcome.DONE, 70, 5.0) for action in (Action.THAW, Action.CONFIRM)]
        journal.move(run, target, intents)
        ended = replace(target, state=state, **fields)
        if state is not State.RUNNING:
            journal.move(run, ended, steps)
        events.witness(run, ended, steps)


def exposition(journal: SqlJournal) -> str:
    """All metrics that there are, as Prometheus gets them."""
    events, clock = Events(), StoppedClock()
    fill(journal, events)
    events.seen([Sighting("db1", Sight.THAWED), Sighting("edge1", Sight.FOREIGN)])
    events.notice("sent")
    history = History(
        Configured(), journal, journal.statistics(), lambda: [Coming("nightly", (NOW + HOUR,), None)], clock
    )
    return render([events, history, QueueLength(lambda: (3, 2))]).decode()
