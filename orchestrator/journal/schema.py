"""The schema's revisions: a new database gets them all, an old one waits for its operator, a newer one is refused.

Alembic and the migrations are loaded only when there is something to do: the start of every command compares one row
with one constant.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection, inspect, text

from orchestrator.errors import JournalMismatch, JournalOutdated
from orchestrator.journal.database import Database
from orchestrator.journal.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

#: The newest revision in `migrations/versions`.
HEAD = "0007"

#: Seconds that one statement of a migration may take: it may rewrite millions of rows.
_MIGRATION_PATIENCE = 3600

#: Keeps two programs from migrating one PostgreSQL database at once (any number that nobody else uses there).
_MIGRATION_LOCK = 0x71756965736365  # "quiesce"


class Upgrade(NamedTuple):
    """What `upgrade` did to the schema."""

    #: None when the database was empty.
    before: str | None
    after: str


def upgrade(url: str) -> Upgrade:
    """Bring the database to the newest schema, in one transaction: all or nothing. Idempotent.

    Raises ConfigError, JournalUnavailable, or JournalMismatch for a database that a newer program has written.
    """
    database = Database(url, _MIGRATION_PATIENCE)
    try:
        return _migrate(database)
    finally:
        database.close()


def ensure(database: Database) -> None:
    """Return only when the database has the newest schema; an empty one gets it now.

    Raises JournalUnavailable, JournalOutdated for an older schema, and JournalMismatch for one from the future.
    """
    with database.reading() as connection:
        revision = _revision(connection)
    if revision is None:
        _migrate(database)
    elif revision != HEAD:
        _refuse_unknown(database, revision)
        raise JournalOutdated(f"the journal {database.name} has schema {revision}, and this program needs {HEAD}")


def _migrate(database: Database) -> Upgrade:
    from alembic import command

    with database.writing() as connection:  # on SQLite, this alone keeps a second program waiting
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        before = _revision(connection)
        if before is not None:
            _refuse_unknown(database, before)
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return Upgrade(before, HEAD)


def _revision(connection: Connection) -> str | None:
    """The schema's revision, or None when the journal's tables are still to be made here."""
    present = set(inspect(connection).get_table_names())
    if "alembic_version" in present:
        revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
        return revision
    # A PostgreSQL database may be shared with other programs; a file belongs to one.
    taken = present if connection.dialect.name == "sqlite" else present & metadata.tables.keys()
    if taken:
        raise JournalMismatch(f"this database is not a journal: it has tables of its own ({', '.join(sorted(taken))})")
    return None


def _refuse_unknown(database: Database, revision: str) -> None:
    from alembic.script import ScriptDirectory

    if revision not in {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}:
        raise JournalMismatch(f"the journal {database.name} has schema {revision}, which this program does not know")


def _config() -> "Config":
    from alembic.config import Config

    package = Path(__file__).parent.parent
    carried = package / "migrations"  # in a wheel; in a checkout the migrations stand beside the package
    config = Config()
    folder = carried if carried.exists() else package.parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    return config
