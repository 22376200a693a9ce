"""Who may ask over HTTP, what they did, and what was asked for. All with the journal's guarantees and errors."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.model import Deed, Event, Position, Request, Token


class Tokens(Protocol):
    """The secrets that were given out, kept as digests only."""

    def create(self, token: Token, digest: str) -> bool:
        """Remember a token; say whether its name is new. One that is there stays as it is."""
        ...

    def find(self, digest: str) -> Token | None:
        """The token whose secret has that digest, whether it still holds or not."""
        ...

    def all(self) -> Sequence[Token]:
        """All tokens that ever were, by name."""
        ...

    def revoke(self, name: str, at: datetime) -> bool:
        """Let a token hold no longer; say whether there is one by that name that was not revoked before."""
        ...


class Audit(Protocol):
    """What was changed over HTTP, by whom and from where; and what was refused."""

    def record(self, deed: Deed) -> None:
        """Append a deed."""
        ...

    def newest(self, limit: int) -> Sequence[Deed]:
        """The newest deeds, the newest first."""
        ...

    def forget(self, before: datetime) -> int:
        """Delete what was done before then, and return how many deeds that were."""
        ...


class Requests(Protocol):
    """The runs that were asked for under a key."""

    def claim(self, request: Request) -> Request:
        """Remember a request if its key is new; return the one that is remembered for that key."""
        ...


class Events(Protocol):
    """The feed of what is written about runs, by all processes, in one order that does not change."""

    def newest(self) -> Position:
        """The position of what was written last."""
        ...

    def after(self, position: Position, limit: int) -> Sequence[Event]:
        """What was written behind that position, in order, at most `limit`; of runs that are there still."""
        ...

    def reaches(self, position: Position) -> bool:
        """Whether nothing of what was written behind that position is missing."""
        ...

    def trim(self) -> None:
        """Delete all but the newest: enough for hours of work."""
        ...
