"""Who may ask over HTTP and what they did, for as long as the program runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestrator.model import Deed, Token


@dataclass
class MemoryTokens:
    """`ports.Tokens`"""

    known: dict[str, tuple[Token, str]] = field(default_factory=dict)

    def create(self, token: Token, digest: str) -> bool:
        return self.known.setdefault(token.name, (token, digest))[0] is token

    def find(self, digest: str) -> Token | None:
        return next((token for token, other in self.known.values() if other == digest), None)

    def all(self) -> Sequence[Token]:
        return [token for _, (token, _) in sorted(self.known.items())]

    def revoke(self, name: str, at: datetime) -> bool:
        if name not in self.known or self.known[name][0].revoked_at is not None:
            return False
        token, digest = self.known[name]
        self.known[name] = replace(token, revoked_at=at), digest
        return True


@dataclass
class MemoryAudit:
    """`ports.Audit`"""

    deeds: list[Deed] = field(default_factory=list)

    def record(self, deed: Deed) -> None:
        self.deeds.insert(0, deed)

    def newest(self, limit: int) -> Sequence[Deed]:
        return self.deeds[:limit]

    def forget(self, before: datetime) -> int:
        kept = [deed for deed in self.deeds if deed.at >= before]
        forgotten, self.deeds = len(self.deeds) - len(kept), kept
        return forgotten
