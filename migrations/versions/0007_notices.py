"""What people were told of runs, so that a restart tells it no second time."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "notices",
        sa.Column("kind", sa.String(16), primary_key=True),
        sa.Column("job_name", TEXT, primary_key=True),
        sa.Column("machine", TEXT, primary_key=True),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('stuck', 'foreign', 'failed', 'missed', 'degraded', 'recovered')", name="kind_known"
        ),
    )
