"""Runs as they stand in the tables, in a constant number of queries."""

from collections import defaultdict

from sqlalchemy import ColumnElement, Connection, select

from orchestrator.journal import rows
from orchestrator.journal.tables import runs, snapshots, steps, targets
from orchestrator.model import Run, Step, Target

NEWEST_FIRST = runs.c.started_at.desc(), runs.c.id.desc()


def load(connection: Connection, which: ColumnElement[bool], *, with_steps: bool = True) -> tuple[Run, ...]:
    """The runs that `which` selects, oldest first, in one query each for the runs, the targets and the steps."""
    found = connection.execute(select(runs).where(which).order_by(runs.c.started_at, runs.c.id)).all()
    of_these = select(runs.c.id).where(which)
    targets_of = load_targets(connection, targets.c.run_id.in_(of_these))
    steps_of: dict[str, list[Step]] = defaultdict(list)
    if with_steps:
        for row in connection.execute(
            select(steps).where(steps.c.run_id.in_(of_these)).order_by(steps.c.run_id, steps.c.seq)
        ):
            steps_of[row.run_id].append(rows.step_from(row))
    return tuple(rows.run_from(row, targets_of[row.id], steps_of[row.id]) for row in found)


def load_targets(connection: Connection, which: ColumnElement[bool]) -> dict[str, list[Target]]:
    """The targets that `which` selects, by run, in the run's order. What was let go is none of their snapshots."""
    there = (snapshots.c.run_id == targets.c.run_id) & (snapshots.c.machine == targets.c.machine)
    whole = there & snapshots.c.let_go_at.is_(None)
    described = select(targets, snapshots.c.description).outerjoin(snapshots, whole)
    query = described.where(which).order_by(targets.c.position)
    found: dict[str, list[Target]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.run_id].append(rows.target_from(row))
    return found
