"""Values of the model as documents of JSON values. The names of the fields are fixed: others script against them."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

from orchestrator.acts import Answer
from orchestrator.answers import Report
from orchestrator.model import (
    Checked,
    Coming,
    Deed,
    Delivery,
    ExecResult,
    Health,
    Job,
    Located,
    Machine,
    Pause,
    Pruned,
    Restored,
    Run,
    Sighting,
    Snapshot,
    Step,
    Target,
    Token,
    Verified,
)

Document = dict[str, Any]


def run(run: Run) -> Document:
    """A run with its steps."""
    return {**summary(run), "steps": [step(each) for each in run.steps]}


def summary(run: Run) -> Document:
    """A run without its steps."""
    return {
        "id": run.id,
        "job": run.job.name if run.job else None,
        "trigger": run.trigger,
        "state": run.state,
        "consistency": run.consistency,
        "targets": [target(each) for each in run.targets],
        "started_at": timestamp(run.started_at),
        "finished_at": timestamp(run.finished_at) if run.finished_at else None,
        "window_ms": _rounded(run.window_ms),
        "error": run.error,
    }


def target(target: Target) -> Document:
    """One machine in a run."""
    return {
        "machine": target.machine.name,
        "state": target.state,
        "consistency": target.consistency,
        "snapshot": target.snapshot,
        "window_ms": _rounded(target.window_ms),
        "hold_ms": _rounded(target.hold_ms),
        "error": target.error,
    }


def step(step: Step) -> Document:
    """One entry of the journal. `monotonic` is in seconds, and comparable within one process only."""
    return {
        "machine": step.machine,
        "action": step.action,
        "outcome": step.outcome,
        "at": timestamp(step.at),
        "monotonic": step.monotonic,
        "duration_ms": _rounded(step.duration_ms),
        "figures": step.figures,
        "error": step.error,
    }


def machine(machine: Machine) -> Document:
    """A machine and the ways to it."""
    return dataclasses.asdict(machine)


def job(job: Job) -> Document:
    """A job as it is configured, with durations in seconds."""
    return dataclasses.asdict(job)


def health(health: Health) -> Document:
    """A pre-flight's report."""
    windows = [_rounded(window) for window in health.last_windows_ms]
    return {"machine": health.machine, "ready": health.ready, **dataclasses.asdict(health), "last_windows_ms": windows}


def checked(report: Checked) -> Document:
    """What was found in a repository."""
    return dataclasses.asdict(report)


def restored(restored: Restored) -> Document:
    """What a restore made, and of which backup."""
    backup = restored.backup
    return {
        "run": backup.run_id,
        "machine": backup.machine,
        "cut_at": timestamp(backup.cut_at),
        "consistency": backup.consistency,
        "repository": restored.repository,
        "disks": [dataclasses.asdict(disk) for disk in restored.disks],
        "domain": restored.domain,
        "uuid": restored.uuid,
    }


def located(located: Located) -> Document:
    """A snapshot, and where each of its disks is now."""
    places = [dataclasses.asdict(place) for place in located.places]
    return {**_snapshot(located.snapshot), "places": places, "error": located.error}


def pruned(pruned: Pruned) -> Document:
    """What became of one snapshot, and why."""
    return {
        **_snapshot(pruned.snapshot),
        "fate": pruned.fate,
        "reasons": list(pruned.reasons),
        "error": pruned.error,
    }


def _snapshot(snapshot: Snapshot) -> Document:
    return {
        "run": snapshot.run.id,
        "job": snapshot.run.job.name if snapshot.run.job else None,
        "machine": snapshot.machine.name,
        "created_at": timestamp(snapshot.created_at),
        "consistency": snapshot.run.target(snapshot.machine.name).consistency,
    }


def answer(answer: Answer) -> Document:
    """What a machine answered to its operator, and the run in whose history the question is."""
    return {"machine": answer.machine, "question": answer.question, "run": answer.run, "answer": answer.value}


def rows(value: Any) -> list[Document]:
    """An answer as a list of objects, whatever it is."""
    items = value if isinstance(value, list) else [value]
    return [item if isinstance(item, dict) else {"value": item} for item in items]


def executed(run: Run, result: ExecResult) -> Document:
    """A program in a guest. Output that is not UTF-8 is shown by its codes."""
    outputs = {"output": result.output, "error_output": result.error_output}
    texts = {key: data.decode(errors="backslashreplace") for key, data in outputs.items()}
    return {"run": run.id, "machine": run.targets[0].machine.name, "exit_code": result.exit_code, **texts}


def delivery(delivery: Delivery) -> Document:
    """What became of a message at one address."""
    return {"to": delivery.address, "sent": delivery.error is None, "error": delivery.error}


def coming(coming: Coming) -> Document:
    """When a job is due next."""
    return {
        "job": coming.job,
        "paused": coming.pause is not None,
        "paused_by": coming.pause and coming.pause.by,
        "reason": coming.pause and coming.pause.reason,
        "next": [timestamp(each) for each in coming.times],
    }


def pause(pause: Pause) -> Document:
    """What is kept from running, since when, by whom and why."""
    return {**dataclasses.asdict(pause), "since": timestamp(pause.since)}


def verified(verified: Verified) -> Document:
    """What an examination of a backup found."""
    backup = verified.backup
    return {
        "run": backup.run_id,
        "machine": backup.machine,
        "cut_at": timestamp(backup.cut_at),
        "consistency": backup.consistency,
        "repository": verified.repository,
        "verify": verified.verify,
        "trusted": not verified.problems,
        "problems": list(verified.problems),
        "filesystems": [dataclasses.asdict(filesystem) for filesystem in verified.filesystems],
        "boot_seconds": verified.boot_seconds and round(verified.boot_seconds, 3),
    }


def report(report: Report) -> Document:
    """What the history says about all machines."""

    def row(value: Any) -> Document:
        document = dataclasses.asdict(value)
        return {key: timestamp(each) if isinstance(each, datetime) else each for key, each in document.items()}

    tables = {"unquiesced": report.unquiesced, "frozen": report.frozen, "last_good": report.last_good}
    rows = {kind: [row(each) for each in values] for kind, values in tables.items()}
    return {"since": timestamp(report.since), **rows, "overdue": list(report.overdue)}


def sighting(sighting: Sighting) -> Document:
    """What was seen of a machine."""
    return dataclasses.asdict(sighting)


def token(token: Token) -> Document:
    """Whose secret lets them do what, and until when."""
    return {
        "name": token.name,
        "role": token.role,
        "created_at": timestamp(token.created_at),
        "created_by": token.created_by,
        "expires_at": token.expires_at and timestamp(token.expires_at),
        "revoked_at": token.revoked_at and timestamp(token.revoked_at),
    }


def deed(deed: Deed) -> Document:
    """Who changed what, when and from where; or what was refused."""
    return {**dataclasses.asdict(deed), "at": timestamp(deed.at)}


def timestamp(time: datetime) -> str:
    """ISO 8601 in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _rounded(milliseconds: float | None) -> float | None:
    """To the microsecond: a clock's further digits say nothing."""
    return None if milliseconds is None else round(milliseconds, 3)
