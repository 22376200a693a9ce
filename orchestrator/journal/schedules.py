"""What the scheduler remembers: up to when the times of a job are decided, and what is paused."""

from collections.abc import Mapping

from sqlalchemy import delete, select

from orchestrator.journal.database import Database, insert_unless_there
from orchestrator.journal.tables import horizons, pauses
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
                for row in connection.execute(select(horizons))
            }

    def decided(self, job: str, horizon: Horizon) -> None:
        """See `ports.Schedules`."""
        row = {"job_name": job, "schedule": horizon.schedule, "first": horizon.first, "horizon": horizon.until}
        with self._database.writing() as connection:
            connection.execute(delete(horizons).filter_by(job_name=job))
            connection.execute(horizons.insert(), row)

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
