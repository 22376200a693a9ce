"""The journal's values as rows, and rows as values."""

import dataclasses
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row as SqlRow

from orchestrator import states
from orchestrator.model import Consistency, Job, Machine, Owner, Run, Snapshot, Step, Target

Row = dict[str, Any]


def run_row(run: Run, now: datetime) -> Row:
    """The row of a run whose targets are as in `run`."""
    return {
        "id": run.id,
        "job_name": run.job and run.job.name,
        "job": run.job and dataclasses.asdict(run.job),
        "trigger": run.trigger,
        "owner": str(run.owner),
        "started_at": run.started_at,
        "scheduled_for": run.scheduled_for,
        **outcome(run.targets, now),
    }


def outcome(targets: Sequence[Target], now: datetime) -> Row:
    """What follows for a run from its targets, seen at `now`."""
    state = states.worst(target.state for target in targets)
    return {
        "state": state,
        "consistency": max((target.consistency for target in targets), key=list(Consistency).index),
        "finished_at": None if state in states.OPEN else now,
        "error": "; ".join(_errors(targets)) or None,
    }


def _errors(targets: Sequence[Target]) -> Iterable[str]:
    for target in targets:
        if target.error is not None:
            yield target.error if len(targets) == 1 else f"{target.machine.name}: {target.error}"


def target_row(target: Target) -> Row:
    """What a move may change of a target's row."""
    return {
        "state": target.state,
        "consistency": target.consistency,
        "window_ms": target.window_ms,
        "hold_ms": target.hold_ms,
        "error": target.error,
    }


def new_target_rows(run: Run) -> list[Row]:
    """The rows of a run's targets, in an order that is the same for everybody who wants the same machines."""
    rows = [
        {
            "run_id": run.id,
            "machine": target.machine.name,
            "position": position,
            "spec": dataclasses.asdict(target.machine),
            "started_at": run.started_at,
            **target_row(target),
        }
        for position, target in enumerate(run.targets)
    ]
    return sorted(rows, key=lambda row: row["machine"])


def step_rows(run_id: str, steps: Sequence[Step], first: int) -> list[Row]:
    """The rows of steps that are numbered from `first` on."""
    return [{"run_id": run_id, "seq": seq, **vars(step)} for seq, step in enumerate(steps, first)]


def run_from(row: SqlRow[Any], targets: Sequence[Target], steps: Sequence[Step]) -> Run:
    """The run that a row of `runs` holds."""
    return Run(
        id=row.id,
        job=row.job and Job.from_json(row.job),
        trigger=row.trigger,
        owner=Owner.parse(row.owner),
        started_at=row.started_at,
        targets=tuple(targets),
        state=row.state,
        consistency=row.consistency,
        finished_at=row.finished_at,
        scheduled_for=row.scheduled_for,
        error=row.error,
        steps=tuple(steps),
    )


def target_from(row: SqlRow[Any]) -> Target:
    """The target that a row of `targets` holds, with the `description` of its snapshot."""
    return Target(
        machine=Machine.from_json(row.spec),
        state=row.state,
        consistency=row.consistency,
        window_ms=row.window_ms,
        hold_ms=row.hold_ms,
        snapshot=row.description,
        error=row.error,
    )


def snapshot_from(row: SqlRow[Any], run: Run, *, distrusted: bool) -> Snapshot:
    """The snapshot that a row of `snapshots` holds, which `run` made."""
    machine = run.target(row.machine).machine
    return Snapshot(run, machine, row.created_at, row.description, row.let_go_at, distrusted)


def step_from(row: SqlRow[Any]) -> Step:
    """The step that a row of `steps` holds."""
    return Step(**{field.name: getattr(row, field.name) for field in dataclasses.fields(Step)})
