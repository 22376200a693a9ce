"""What people are told of runs, when they do not look."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class NoticeKind(StrEnum):
    """What a notice is about: the gravest first."""

    STUCK = "stuck"  # a thaw is not confirmed: the guest may still be frozen
    FOREIGN = "foreign"  # a guest is frozen, and by no run of the journal
    FAILED = "failed"  # a run did not do its work, or could not begin
    MISSED = "missed"  # a scheduled time passed without a run
    DEGRADED = "degraded"  # done, at a lower consistency than was wanted
    RECOVERED = "recovered"  # a dead process's run was settled; or what was told before is over


@dataclass(frozen=True)
class Concern:
    """What a notice is told about, once as long as it lasts."""

    kind: NoticeKind
    #: None: whatever job.
    job: str | None = None
    #: None: whatever machine.
    machine: str | None = None


@dataclass(frozen=True)
class Notice:
    """Something that a person should know."""

    concern: Concern
    #: What happened, where, how it is now, and what to do next: one line, its hostile parts escaped.
    text: str


@dataclass(frozen=True)
class Told:
    """That people were told of a concern, and when they were last."""

    concern: Concern
    at: datetime


@dataclass(frozen=True)
class Delivery:
    """What became of a message at one address."""

    #: Where the address stands in the configuration, and of which kind it is; never the address itself.
    address: str
    #: Why it was not sent; None: it was.
    error: str | None = None


@dataclass(frozen=True)
class Notices:
    """Who is told, and of what."""

    #: Addresses, with their passwords.
    urls: tuple[str, ...] = field(default=(), repr=False)
    #: A file with more of them.
    urls_file: str | None = None
    on: frozenset[NoticeKind] = frozenset(NoticeKind)
