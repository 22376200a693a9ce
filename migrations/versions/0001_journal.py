"""The journal's first schema: runs, their targets, their steps, and the snapshots that they made.

Types and words are written out, not imported: this file keeps saying what it did when the program has moved on.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

STATES = ("pending", "running", "done", "failed", "refused", "recovered", "stuck", "cancelled")
CONSISTENCIES = ("application", "filesystem", "crash", "none")
TRIGGERS = ("manual", "schedule", "thaw")
ACTIONS = ("preflight", "prepare", "flush", "freeze", "cut", "thaw", "confirm", "verify", "discard")
OUTCOMES = ("intent", "done", "failed", "unknown")

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
JSON = sa.Text()
WORD = sa.String(16)
INSTANT = sa.DateTime(timezone=True)


def known(column: str, words: tuple[str, ...]) -> sa.CheckConstraint:
    """Only these words in that column."""
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


def upgrade() -> None:
    op.create_table(
        "runs",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("job_name", TEXT),
        sa.Column("job", JSON),
        sa.Column("trigger", WORD, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("finished_at", INSTANT),
        sa.Column("state", WORD, nullable=False),
        sa.Column("consistency", WORD, nullable=False),
        sa.Column("error", TEXT),
        known("trigger", TRIGGERS),
        known("state", STATES),
        known("consistency", CONSISTENCIES),
    )
    op.create_index("runs_started_at", "runs", ["started_at"])
    op.create_index("runs_state", "runs", ["state", "started_at"])
    op.create_index("runs_job", "runs", ["job_name", "started_at"])
    op.create_index("runs_job_state", "runs", ["job_name", "state", "started_at"])

    op.create_table(
        "targets",
        sa.Column("run_id", TEXT, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("machine", TEXT, primary_key=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("consistency", WORD, nullable=False),
        sa.Column("window_ms", sa.Double()),
        sa.Column("hold_ms", sa.Double()),
        sa.Column("error", TEXT),
        known("state", STATES),
        known("consistency", CONSISTENCIES),
    )
    op.create_index("targets_machine", "targets", ["machine"])
    is_open = sa.text("state IN ('pending', 'running', 'stuck')")
    op.create_index(
        "targets_open_machine", "targets", ["machine"], unique=True, postgresql_where=is_open, sqlite_where=is_open
    )

    op.create_table(
        "steps",
        sa.Column("run_id", TEXT, primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("machine", TEXT, nullable=False),
        sa.Column("action", WORD, nullable=False),
        sa.Column("outcome", WORD, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("monotonic", sa.Double(), nullable=False),
        sa.Column("duration_ms", sa.Double()),
        sa.Column("figures", JSON, nullable=False),
        sa.Column("error", TEXT),
        sa.ForeignKeyConstraint(["run_id", "machine"], ["targets.run_id", "targets.machine"]),
        sa.CheckConstraint("seq > 0", name="seq_positive"),
        known("action", ACTIONS),
        known("outcome", OUTCOMES),
    )

    op.create_table(
        "snapshots",
        sa.Column("run_id", TEXT, primary_key=True),
        sa.Column("machine", TEXT, primary_key=True),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("description", JSON, nullable=False),
        sa.Column("consistency", WORD, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["run_id", "machine"], ["targets.run_id", "targets.machine"]),
        known("consistency", CONSISTENCIES),
    )
    op.create_index("snapshots_machine", "snapshots", ["machine", "created_at"])
