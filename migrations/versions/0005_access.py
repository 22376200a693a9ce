"""Who may ask over HTTP and what they did, runs that were asked for, and the feed of what is written about runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
INSTANT = sa.DateTime(timezone=True)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("expires_at", INSTANT),
        sa.Column("revoked_at", INSTANT),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin')", name="role_known"),
    )
    op.create_index("tokens_digest", "tokens", ["digest"], unique=True)
    op.create_table(
        "audit",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("who", TEXT, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("act", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "requests",
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("wanted", TEXT, nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("run_id", TEXT, nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_in_order", "events", ["turn", "id"])
