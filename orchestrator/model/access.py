"""Who may ask over HTTP, and what was asked."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do: each role all that those before it may."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # start, cancel, pause, thaw, recover
    ADMIN = "admin"  # see who did what

    def may(self, needed: "Role") -> bool:
        """Whether this role is enough for what needs the other one."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True)
class Token:
    """A secret that was given to somebody, without the secret."""

    #: Never given twice, so that the audit means one.
    name: str
    role: Role
    created_at: datetime
    created_by: str
    #: None: it does not end by itself.
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it lets anybody in."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


@dataclass(frozen=True)
class Deed:
    """One request that changed something, or was refused."""

    at: datetime
    who: str
    #: From where: an address, or a process of this host.
    origin: str
    #: The method, and the route as the API's description has it.
    act: str
    #: What it was about.
    subject: str
    #: How it was answered: an HTTP status.
    status: int


@dataclass(frozen=True)
class Request:
    """A run that was asked for under a key, once for ever."""

    key: str
    #: What was asked for.
    wanted: str
    run_id: str
    at: datetime
