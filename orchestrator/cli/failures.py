"""What went wrong, for people, on standard error: what happened, on which machine, what state the guest is in now, and
what to do next. And the exit code for it.
"""

from collections.abc import Iterable, Iterator

from orchestrator import advice
from orchestrator.errors import ConfigError, FrozenByOther, NotFound, QuiesceError, Refused, StuckUnjournaled, Untrusted
from orchestrator.escape import escape
from orchestrator.model import Action, Pruned, Run, Sight, Sighting, State, Verified


def stuck_first(runs: Iterable[Run]) -> list[Run]:
    """The runs in their order, but those with a guest that may be frozen before all others."""
    return sorted(runs, key=lambda run: run.state is not State.STUCK)


def gravest_first(sightings: Iterable[Sighting]) -> list[Sighting]:
    """What was seen, in its order, but stuck guests before all others, and then those that somebody else froze."""
    return sorted(sightings, key=lambda each: (each.saw is not Sight.STUCK, each.saw is not Sight.FOREIGN))


def shortfalls(run: Run) -> Iterator[str]:
    """A line for each target that did not end as it was asked, stuck ones first."""
    for target in sorted(run.targets, key=lambda target: target.state is not State.STUCK):
        if target.state is not State.DONE or target.error:
            yield advice.line(run, target)
    yield from _failed_hooks(run)


def _failed_hooks(run: Run) -> Iterator[str]:
    """A line for each program of the job's that failed after all was well."""
    for step in run.steps:
        if step.action is Action.HOOK and step.error and run.target(step.machine).state is State.DONE:
            machine, what = escape(step.machine), escape(step.error, 2000).rstrip(".")
            yield f"HOOK FAILED {machine}: {what}. What the run made is there. Next: do by hand what it should do."


def alarms(runs: Iterable[Run]) -> Iterator[str]:
    """A line for each guest that may be frozen."""
    for run in runs:
        for target in run.targets:
            if target.state is State.STUCK:
                yield advice.line(run, target)


def not_pruned(pruned: Iterable[Pruned]) -> Iterator[str]:
    """A line for each snapshot that should be gone and is not."""
    for each in pruned:
        if each.error is not None:
            name, machine = escape(each.snapshot.run.snapshot_name), escape(each.snapshot.machine.name)
            what = escape(each.error, 2000).rstrip(".")
            yield f"NOT REMOVED {name} of {machine}: {what}. Next: put it right and run `quiesce prune`."


def distrust(verified: Verified) -> Iterator[str]:
    """A line for each reason not to trust a backup, and what to do then; or why the history does not have it."""
    machine, run = escape(verified.backup.machine), escape(verified.backup.run_id)
    for problem in verified.problems:
        yield f"NOT TRUSTED {machine} of {run}: {escape(problem, 2000)}"
    if verified.problems:
        yield f"quiesce: {Untrusted.advice}"
    if verified.not_journaled is not None:
        yield f"quiesce: not in the history: {escape(verified.not_journaled)}"


def sighted(sightings: Iterable[Sighting], recovered: Iterable[Run]) -> Iterator[str]:
    """A line for each guest that is frozen by somebody else, or may be by a run that is not among the `recovered`."""
    known = {run.id for run in recovered}
    for each in sightings:
        machine, run = escape(each.machine), escape(each.run or "")
        if each.saw is Sight.FOREIGN:
            yield f"FOREIGN {machine}: frozen, and by no run of this journal. It was left so. {FrozenByOther.advice}"
        if each.saw is Sight.STUCK and each.run not in known:
            next_step = advice.when_stuck(machine)
            yield f"STUCK {machine}: run {run} froze it. The guest MAY STILL BE FROZEN. Next: {next_step}"


def lines_of(error: QuiesceError) -> list[str]:
    """What happened and what to do next. Only our own ConfigError may have several lines."""
    texts = str(error).split("\n") if isinstance(error, ConfigError) else [str(error)]
    return [f"quiesce: {escape(text, 2000)}" for text in texts] + ([f"quiesce: {error.advice}"] if error.advice else [])


def exit_code(error: QuiesceError) -> int:
    """The exit code when a command could not be carried out."""
    match error:
        case ConfigError() | NotFound():
            return 2
        case StuckUnjournaled():
            return 3
        case Refused():
            return 5
        case StuckUnjournaled():
            return 3
        case _:
            return 1


def recovery_code(runs: Iterable[Run], sightings: Iterable[Sighting]) -> int:
    """The exit code of a recovery: a stuck guest outranks a foreign freeze."""
    seen = {each.saw for each in sightings}
    if Sight.STUCK in seen or any(run.state is State.STUCK for run in runs):
        return 3
    return 5 if Sight.FOREIGN in seen else 0
