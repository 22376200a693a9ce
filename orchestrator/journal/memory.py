"""What people were told, so that a restart tells it no second time."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from orchestrator.journal.database import Database
from orchestrator.journal.tables import notices
from orchestrator.model import Concern, Told


class SqlMemory:
    """`ports.Memory` in the journal's database, with the journal's guarantees and errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def told(self) -> Sequence[Told]:
        """See `ports.Memory`."""
        with self._database.reading() as connection:
            return [
                Told(Concern(row.kind, row.job_name or None, row.machine or None), row.told_at)
                for row in connection.execute(select(notices).order_by(notices.c.told_at))
            ]

    def remember(self, told: Told) -> None:
        """See `ports.Memory`."""
        key = _key(told.concern)
        with self._database.writing() as connection:
            connection.execute(delete(notices).filter_by(**key))
            connection.execute(notices.insert(), {**key, "told_at": told.at})

    def forget(self, concern: Concern) -> None:
        """See `ports.Memory`."""
        with self._database.writing() as connection:
            connection.execute(delete(notices).filter_by(**_key(concern)))


def _key(concern: Concern) -> dict[str, str]:
    """A concern as the primary key has it, which knows no NULL."""
    return {"kind": concern.kind, "job_name": concern.job or "", "machine": concern.machine or ""}
