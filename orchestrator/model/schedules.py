"""What the scheduler remembers, and what it says."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Pausable(StrEnum):
    """What scheduled runs can be kept from."""

    JOB = "job"
    MACHINE = "machine"


@dataclass(frozen=True)
class Horizon:
    """Up to when the times of a job are decided."""

    #: What its times were then; when they change, all is decided anew.
    schedule: str
    #: When the job was first seen with these times: where the grid of an interval begins.
    first: datetime
    #: Each time up to here was run, or let go.
    until: datetime


@dataclass(frozen=True)
class Pause:
    """A job, or a machine, that scheduled runs leave alone until it is resumed."""

    kind: Pausable
    name: str
    since: datetime
    #: Who wanted it.
    by: str
    reason: str | None = None


@dataclass(frozen=True)
class Coming:
    """When a job is due next."""

    job: str
    #: In UTC.
    times: tuple[datetime, ...]
    #: Set when its runs are let go meanwhile.
    pause: Pause | None = None
