"""Who may ask over HTTP, what they did, and what they asked for."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update

from orchestrator.journal.database import Database, insert_unless_there
from orchestrator.journal.tables import audit, requests, tokens
from orchestrator.model import Deed, Request, Token


class SqlTokens:
    """`ports.Tokens` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, token: Token, digest: str) -> bool:
        """See `ports.Tokens`."""
        with self._database.writing() as connection:
            new = insert_unless_there(connection, tokens, "name").returning(tokens.c.name)
            return connection.scalar(new, {**vars(token), "digest": digest}) is not None

    def find(self, digest: str) -> Token | None:
        """See `ports.Tokens`."""
        with self._database.reading() as connection:
            row = connection.execute(_TOKENS.where(tokens.c.digest == digest)).one_or_none()
            return row and Token(*row)

    def all(self) -> Sequence[Token]:
        """See `ports.Tokens`."""
        with self._database.reading() as connection:
            return [Token(*row) for row in connection.execute(_TOKENS.order_by(tokens.c.name))]

    def revoke(self, name: str, at: datetime) -> bool:
        """See `ports.Tokens`."""
        held = update(tokens).where(tokens.c.name == name, tokens.c.revoked_at.is_(None))
        with self._database.writing() as connection:
            return bool(connection.execute(held, {"revoked_at": at}).rowcount)


_TOKENS = select(
    tokens.c.name, tokens.c.role, tokens.c.created_at, tokens.c.created_by, tokens.c.expires_at, tokens.c.revoked_at
)


class SqlAudit:
    """`ports.Audit` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, deed: Deed) -> None:
        """See `ports.Audit`."""
        with self._database.writing() as connection:
            connection.execute(audit.insert(), vars(deed))

    def newest(self, limit: int) -> Sequence[Deed]:
        """See `ports.Audit`."""
        columns = [audit.c[name] for name in ("at", "who", "origin", "act", "subject", "status")]
        with self._database.reading() as connection:
            found = connection.execute(select(*columns).order_by(audit.c.id.desc()).limit(limit))
            return [Deed(*row) for row in found]

    def forget(self, before: datetime) -> int:
        """See `ports.Audit`."""
        with self._database.writing() as connection:
            return connection.execute(delete(audit).where(audit.c.at < before)).rowcount


class SqlRequests:
    """`ports.Requests` in the journal's database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, request: Request) -> Request:
        """See `ports.Requests`."""
        with self._database.writing() as connection:
            connection.execute(insert_unless_there(connection, requests, "key"), vars(request))
            return Request(*connection.execute(select(requests).filter_by(key=request.key)).one())
