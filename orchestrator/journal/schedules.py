"""What the scheduler remembers: up to when the times of a job are decided, and what is paused."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import bindparam, delete, select, update

from orchestrator.journal import tables
from orchestrator.journal.database import Database, insert_unless_there
from orchestrator.journal.tables import pauses
from orchestrator.model import Horizon, Pausable, Pause


class SqlSchedules:
    """`ports.Schedules` in the journal's database, with the journal's guarantees and errors."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def horizons(self) -> Mapping[str, Horizon]:
        """See `ports.Schedules`."""
        with self._database.reading() as connection:
            return {
                row.job_name: Horizon(row.schedule, row.first, row.horizon)
                for row in connection.execute(select(tables.horizons))
            }

    def decided(self, horizons: Mapping[str, Horizon]) -> None:
        """See `ports.Schedules`."""
        rows = [
            {"job_name": job, "schedule": each.schedule, "first": each.first, "horizon": each.until}
            for job, each in horizons.items()
        ]
        if not rows:
            return
        with self._database.writing() as connection:
            connection.execute(delete(tables.horizons).where(tables.horizons.c.job_name == bindparam("job_name")), rows)
            connection.execute(tables.horizons.insert(), rows)

    def passed(self, job: str, until: datetime) -> None:
        """See `ports.Schedules`."""
        behind = (tables.horizons.c.job_name == job) & (tables.horizons.c.horizon < until)
        with self._database.writing() as connection:
            connection.execute(update(tables.horizons).where(behind).values(horizon=until))

    def pauses(self) -> tuple[Pause, ...]:
        """See `ports.Schedules`."""
        with self._database.reading() as connection:
            found = connection.execute(select(pauses).order_by(pauses.c.kind, pauses.c.name))
            return tuple(Pause(row.kind, row.name, row.since, row.by, row.reason) for row in found)

    def pause(self, pause: Pause) -> bool:
        """See `ports.Schedules`."""
        with self._database.writing() as connection:
            new = insert_unless_there(connection, pauses).returning(pauses.c.name)
            return connection.scalar(new, vars(pause)) is not None

    def resume(self, kind: Pausable, name: str) -> bool:
        """See `ports.Schedules`."""
        with self._database.writing() as connection:
            return bool(connection.execute(delete(pauses).filter_by(kind=kind, name=name)).rowcount)
