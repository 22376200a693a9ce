"""The service's log: one line for each thing, on standard error, of keys and values. A line of a run or of a machine
names it.
"""

import logging
from collections.abc import Sequence
from typing import TextIO

import structlog

from orchestrator.model import Outcome, Run, State, Step, Target

#: Whose lines may hold what nobody else should read: apprise's, the addresses of notices with their passwords.
_MUTE = ("apprise",)
#: Who warns of what changes nothing: APScheduler, of an alarm that comes while the one before is answered.
_CALM = ("apscheduler",)

log = structlog.get_logger()

_LEVELS = {State.DONE: logging.INFO, State.STUCK: logging.CRITICAL}


def to(stream: TextIO) -> None:
    """Write there from now on, also what libraries log by the standard library, from `warning` on.

    Values are shown as Python's literals: what a guest said stays on its line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    line = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(processors=[*shared, line], logger_factory=structlog.PrintLoggerFactory(stream))
    libraries = logging.StreamHandler(stream)
    libraries.setFormatter(structlog.stdlib.ProcessorFormatter(processor=line, foreign_pre_chain=shared))
    logging.basicConfig(level=logging.WARNING, handlers=[libraries], force=True)
    for name in _MUTE:
        logging.getLogger(name).disabled = True
    for name in _CALM:
        logging.getLogger(name).setLevel(logging.ERROR)


def witness(run: Run, target: Target | None, steps: Sequence[Step]) -> None:
    """A line for each step that has ended, and for each target that has: intents are in the journal."""
    of_run = {"run": run.id, "job": run.job and run.job.name}
    for step in steps:
        if step.outcome is not Outcome.INTENT:
            level = logging.INFO if step.error is None else logging.WARNING
            facts = {"action": step.action.value, "outcome": step.outcome.value, "duration_ms": step.duration_ms}
            log.log(level, "step", **of_run, machine=step.machine, **facts, error=step.error)
    if target is not None and target.state is not State.RUNNING:
        level = _LEVELS.get(target.state, logging.WARNING)
        facts = {"state": target.state.value, "consistency": target.consistency.value, "window_ms": target.window_ms}
        log.log(level, "target ended", **of_run, machine=target.machine.name, **facts, error=target.error)
