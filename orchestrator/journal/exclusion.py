"""The partial indexes. One is law 8: a machine is in one open run only, over all processes and nodes. No lock in code.

Apart from the tables, because SQLAlchemy loads all of both engines to check the options of a partial index, which took
30 ms of every command; and only what makes or compares the schema needs it as an object.
"""

from sqlalchemy import Index

from orchestrator.journal.tables import holds_machine, is_going, is_good, metadata, snapshots, targets

__all__ = ["metadata"]

#: A target that is turned away is `refused` from the start and so never enters this index.
Index(
    "targets_open_machine",
    targets.c.machine,
    unique=True,
    postgresql_where=holds_machine,
    sqlite_where=holds_machine,
)

Index("targets_good", targets.c.machine, targets.c.started_at, postgresql_where=is_good, sqlite_where=is_good)

Index("snapshots_going", snapshots.c.machine, postgresql_where=is_going, sqlite_where=is_going)
