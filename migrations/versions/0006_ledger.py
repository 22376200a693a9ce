"""What the history is leafed through by: the start of a target's run beside it, and indexes that end a query early."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("targets", sa.Column("started_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE targets SET started_at = (SELECT started_at FROM runs WHERE runs.id = targets.run_id)")
    op.drop_index("targets_machine", "targets")
    op.create_index("targets_machine", "targets", ["machine", "started_at"])
    good = sa.text("state = 'done' AND consistency IN ('application', 'filesystem')")
    op.create_index("targets_good", "targets", ["machine", "started_at"], postgresql_where=good, sqlite_where=good)
    op.drop_index("runs_started_at", "runs")
    op.create_index("runs_newest", "runs", ["started_at", "id"])
    op.create_index("runs_consistency", "runs", ["consistency", "started_at"])
    op.create_index("runs_job_consistency", "runs", ["job_name", "consistency", "started_at"])
