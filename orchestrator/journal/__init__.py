"""The journal: the durable memory of every run, on SQLite or PostgreSQL. The only room with SQLAlchemy and Alembic.

`SqlJournal` is the `Journal` of `orchestrator.ports`; `upgrade` is `quiesce db upgrade`. Importing this room costs a
fifth of a second, so commands that need no journal do not import it.
"""

from orchestrator.journal.database import folder
from orchestrator.journal.schema import Upgrade, upgrade
from orchestrator.journal.store import SqlJournal

__all__ = ["SqlJournal", "Upgrade", "folder", "upgrade"]
