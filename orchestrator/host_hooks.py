"""A job's own programs on this host, around its runs and outside of every window: `before`, and `after`.

They are told about the run in their environment, as the programs of the driver `command` are. What they write is kept
within bounds, in the figures of their step.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress

from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.errors import CallError, OutcomeUnknown, Rejected
from orchestrator.model import Action, Job, Run, Target
from orchestrator.ports import Driver, LocatingDriver
from orchestrator.programs import run as run_program
from orchestrator.recorder import Recorder

BEFORE, AFTER = "before", "after"

#: Bytes of a hook's output that the journal keeps: its last ones.
OUTPUT_LIMIT = 4096
#: Seconds for the driver to tell where a snapshot is.
_LOCATE = 10.0


def carry_out(
    hook: str, program: Sequence[str], told: Mapping[str, str], recorder: Recorder, deadline: Deadline, stop: Stop
) -> None:
    """Run one, whose intent is journaled. Raises Rejected for another exit status than 0, OutcomeUnknown when it was
    killed: at `deadline`, or because the user asked to end.
    """
    with recorder.act(Action.HOOK, hook=hook) as figures:
        ended = run_program(program, deadline, {**os.environ, **told}, keep=OUTPUT_LIMIT, stop=stop)
        figures |= {"status": ended.status, "output": ended.output}
        said = f"; it said: {ended.output}" if ended.output else ""
        if ended.status < 0:
            raise OutcomeUnknown(f"{hook}: {program[0]} was ended by signal {-ended.status}{said}")
        if ended.status > 0:
            raise Rejected(f"{hook}: {program[0]} ended with status {ended.status}{said}")


def about(run: Run, job: Job, target: Target, driver: Driver, clock: Clock) -> dict[str, str]:
    """What a hook is told of one machine in a run, by the names of environment variables."""
    told = {
        "QUIESCE_RUN": run.id,
        "QUIESCE_JOB": job.name,
        "QUIESCE_MACHINE": target.machine.name,
        "QUIESCE_MACHINES": " ".join(each.machine.name for each in run.targets),
        "QUIESCE_SNAPSHOT": run.snapshot_name,
        "QUIESCE_STATE": target.state,
        "QUIESCE_CONSISTENCY": target.consistency,
        "QUIESCE_ERROR": target.error or "",
        "QUIESCE_PATH": _path(target, driver, clock),
    }
    return {name: value.replace("\0", "") for name, value in told.items()}  # a guest's words may be in an error


def _path(target: Target, driver: Driver, clock: Clock) -> str:
    """Where what the run made is: a backup's folder, or a snapshot's files with `:` between them; or nothing."""
    made = target.snapshot
    if made is None:
        return ""
    if isinstance(driver, LocatingDriver):
        with suppress(CallError):
            places = driver.places(made, Deadline.after(clock, _LOCATE))
            return ":".join(place.path for place in places)
    return str(made.get("path", ""))
