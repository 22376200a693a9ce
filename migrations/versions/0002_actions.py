"""More that a step may do: the fuse, backups and their life, hooks, and what an operator does around them.

SQLite cannot change a CHECK, so there the steps move to a new table. Nothing refers to them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"

ACTIONS = (
    *("preflight", "prepare", "flush", "fuse", "freeze", "cut", "thaw", "confirm", "verify", "discard"),
    *("copy", "publish", "examine", "merge", "remove", "hook", "channel", "power", "ask"),
)
OUTCOMES = ("intent", "done", "failed", "unknown")
COLUMNS = "run_id, seq, machine, action, outcome, at, monotonic, duration_ms, figures, error"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def listed(column: str, words: tuple[str, ...]) -> str:
    """Only these words in that column."""
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


def upgrade() -> None:
    if op.get_context().dialect.name != "sqlite":
        op.drop_constraint("action_known", "steps", type_="check")
        op.create_check_constraint("action_known", "steps", listed("action", ACTIONS))
        return
    op.rename_table("steps", "steps_before")
    op.create_table(
        "steps",
        sa.Column("run_id", TEXT, primary_key=True),
        sa.Column("seq", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("machine", TEXT, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("monotonic", sa.Double(), nullable=False),
        sa.Column("duration_ms", sa.Double()),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("error", TEXT),
        sa.ForeignKeyConstraint(["run_id", "machine"], ["targets.run_id", "targets.machine"]),
        sa.CheckConstraint("seq > 0", name="seq_positive"),
        sa.CheckConstraint(listed("action", ACTIONS), name="action_known"),
        sa.CheckConstraint(listed("outcome", OUTCOMES), name="outcome_known"),
    )
    op.execute(f"INSERT INTO steps ({COLUMNS}) SELECT {COLUMNS} FROM steps_before")  # noqa: S608 - our own words
    op.drop_table("steps_before")
