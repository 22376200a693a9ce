"""Scheduled times: one run for each, for ever; up to when a job's times are decided; and what is paused."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("runs", sa.Column("scheduled_for", INSTANT))
    op.create_index("runs_scheduled_once", "runs", ["job_name", "scheduled_for"], unique=True)
    op.create_table(
        "horizons",
        sa.Column("job_name", TEXT, primary_key=True),
        sa.Column("schedule", TEXT, nullable=False),
        sa.Column("first", INSTANT, nullable=False),
        sa.Column("horizon", INSTANT, nullable=False),
    )
    op.create_table(
        "pauses",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("since", INSTANT, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("reason", TEXT),
        sa.CheckConstraint("kind IN ('job', 'machine')", name="kind_known"),
    )
