"""What is configured: jobs, and how they are to be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Quiesce(StrEnum):
    """What a job wants when a guest cannot be quiesced."""

    REQUIRED = "required"  # fail
    PREFERRED = "preferred"  # cut all the same, and say so
    OFF = "off"  # do not even try


class PreFlush(StrEnum):
    """How dirty pages are written back before the freeze."""

    OFF = "off"
    SYNC = "sync"  # one sync(1): short window, but the stall mostly moves before it
    GENTLE = "gentle"  # paced, so that the application hardly feels it


class CatchUp(StrEnum):
    """What becomes of a scheduled run whose time passed while nobody could run it."""

    ONCE = "once"  # the newest one is run as soon as it can be; those before it are let go
    SKIP = "skip"  # it is let go


class Verify(StrEnum):
    """How a backup is examined: each way does what those before it do, too."""

    CHECKSUM = "checksum"  # its files are what was written, and whole as images
    FILESYSTEM = "filesystem"  # its file systems are clean, and were at rest at the cut
    BOOT = "boot"  # it boots, and the guest's agent answers


@dataclass(frozen=True)
class Retention:
    """How many of a job's snapshots or backups are kept on each machine. 0 and None: there is no such rule."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    #: Seconds before the newest one, within which all are kept.
    keep_within: float | None = None


@dataclass(frozen=True)
class Job:
    """What is configured: which machines, how they are cut, and what is promised."""

    name: str
    machines: tuple[str, ...]
    driver: str
    #: A cron expression in five fields; at most one of `schedule` and `every` is set.
    schedule: str | None = None
    #: Seconds between two runs.
    every: float | None = None
    #: The zone whose wall clocks `schedule` and `blackout` mean, e.g. `Europe/Berlin`; None: the host's.
    timezone: str | None = None
    #: Seconds over which the starts of jobs with the same schedule are spread.
    jitter: float = 0.0
    catch_up: CatchUp = CatchUp.ONCE
    #: Parts of the week in which nothing scheduled begins, as `blackout.parse` takes them.
    blackout: tuple[str, ...] = ()
    #: How many of its machines are worked on at once; None: all.
    max_parallel: int | None = None
    quiesce: Quiesce = Quiesce.REQUIRED
    #: Mount points to freeze; empty means all.
    mountpoints: tuple[str, ...] = ()
    #: True: all machines at one point in time, in one window.
    group: bool = False
    #: Seconds that the guest may take to answer the freeze.
    freeze_timeout: float = 30.0
    #: The longest time, in seconds, between the freeze's answer and the thaw.
    hold_limit: float = 5.0
    #: Seconds after which a one-shot command gives up confirming a thaw.
    thaw_timeout: float = 60.0
    pre_flush: PreFlush = PreFlush.OFF
    #: Seconds after which a process in the guest thaws it by itself, when nobody else has; None: there is none.
    fuse: float | None = None
    #: The folder in which backups are kept; None when the job makes none.
    repository: str | None = None
    #: Seconds after which the next backup is full again.
    full_every: float = 7 * 86400.0
    #: How many incremental backups may stand on a full one; None: as many as there are until `full_every`.
    max_incrementals: int | None = None
    #: The most bytes per second that a backup copies; None: as fast as it can.
    rate: int | None = None
    #: Seconds that a backup's copy, after the thaw, may take.
    copy_limit: float = 86400.0
    #: How each backup is examined when it is published; None: not at all.
    verify: Verify | None = None
    #: A program on this host, with its arguments, that must succeed before anything else is done; empty: none.
    before: tuple[str, ...] = ()
    #: A program on this host, with its arguments, that is run when all is over, however it ended; empty: none.
    after: tuple[str, ...] = ()
    #: Seconds that each of the two may take.
    hook_timeout: float = 600.0
    #: What is kept; None keeps everything.
    retention: Retention | None = None
    #: The driver's own options.
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Job":
        """The job that `dataclasses.asdict` described."""
        tuples = {
            key: tuple(document.get(key, ())) for key in ("machines", "mountpoints", "blackout", "before", "after")
        }
        enums = {
            "quiesce": Quiesce(document["quiesce"]),
            "pre_flush": PreFlush(document["pre_flush"]),
            "catch_up": CatchUp(document.get("catch_up", CatchUp.ONCE)),
        }
        verify = document.get("verify")  # older journals know neither
        retention = document.get("retention")
        kept = {
            "verify": None if verify is None else Verify(verify),
            "retention": None if retention is None else Retention(**retention),
        }
        return cls(**{**document, **tuples, **enums, **kept})
