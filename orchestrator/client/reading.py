"""The API's documents as the values that they were made from, as far as documents tell."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import OutcomeUnknown
from orchestrator.model import Coming, Job, Located, Machine, Owner, Pausable, Pause, Place, Run, Snapshot, Step, Target

T = TypeVar("T")

#: A document does not tell which process has a run in hand.
_UNTOLD = Owner("", "", 0, 0)


def value(kind: type[T], document: Any) -> T:
    """A value of a kind whose fields are the document's. Raises OutcomeUnknown when they are not."""
    try:
        return TypeAdapter(kind).validate_python(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OutcomeUnknown(
            f"the service's answer is not understood: {kind.__name__} {where}: {first['msg']}"
        ) from error


def run(document: Any, jobs: Mapping[str, Job]) -> Run:
    """A run, with its steps if the document has them. Its job is the one that is configured now."""
    known = {key: document[key] for key in document.keys() - {"job", "targets", "window_ms", "steps"}}
    found = value(Run, {**known, "job": None, "owner": _UNTOLD, "targets": ()})
    name = document["job"]
    job = None if name is None else replace(jobs.get(name) or Job(name, (), driver=""), retention=None)
    targets = tuple(value(Target, {**each, "machine": Machine(each["machine"])}) for each in document["targets"])
    return replace(found, job=job, targets=targets, steps=steps(document.get("steps", ())))


def steps(documents: Sequence[Any]) -> tuple[Step, ...]:
    """Entries of the journal."""
    return tuple(value(Step, each) for each in documents)


def located(document: Any) -> Located:
    """A snapshot, and where it is."""
    machine = Machine(document["machine"])
    target = value(Target, {"machine": machine, "consistency": document["consistency"]})
    job = document["job"] and Job(document["job"], (machine.name,), driver="")
    made = {"id": document["run"], "trigger": "manual", "owner": _UNTOLD, "started_at": document["created_at"]}
    by = replace(value(Run, {**made, "job": None, "targets": ()}), job=job, targets=(target,))
    snapshot = Snapshot(by, machine, by.started_at, made={})
    places = tuple(value(Place, each) for each in document["places"])
    return Located(snapshot, places, document["error"])


def coming(document: Any) -> Coming:
    """When a job is due."""
    times = value(tuple[Any, ...], document["next"])
    found = value(Coming, {"job": document["job"], "times": times})
    if not document["paused"]:
        return found
    pause = Pause(Pausable.JOB, found.job, found.times[0], document["paused_by"], document["reason"])
    return replace(found, pause=pause)
