"""When a snapshot was let go, and when it was gone."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("snapshots", sa.Column("let_go_at", sa.DateTime(timezone=True)))
    op.add_column("snapshots", sa.Column("removed_at", sa.DateTime(timezone=True)))
    going = sa.text("let_go_at IS NOT NULL AND removed_at IS NULL")
    op.create_index("snapshots_going", "snapshots", ["machine"], postgresql_where=going, sqlite_where=going)
