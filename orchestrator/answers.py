"""What the history is asked and what it answers: which runs, was it good, when was it last, how long did it take?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from orchestrator.model import Consistency, Run, State


@dataclass(frozen=True)
class Filter:
    """Which runs are wanted: those that fit all that is not None."""

    job: str | None = None
    #: One of the run's machines.
    machine: str | None = None
    state: State | None = None
    consistency: Consistency | None = None
    #: Runs that began then or later.
    since: datetime | None = None
    #: Runs that began before.
    until: datetime | None = None


@dataclass(frozen=True)
class Mark:
    """A run's place in the history: the next page begins behind the last run of the one before."""

    started_at: datetime
    id: str

    @classmethod
    def of(cls, run: Run) -> Self:
        """The place of this run."""
        return cls(run.started_at, run.id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The mark that `str` wrote. Raises ValueError."""
        at, tilde, run_id = text.partition("~")
        if not tilde:
            raise ValueError(f"{text!r} marks no place in the history")
        return cls(datetime.strptime(at, _MARKED).replace(tzinfo=UTC), run_id)

    def __str__(self) -> str:
        return f"{self.started_at.astimezone(UTC):{_MARKED}}~{self.id}"


#: Of the characters that a url keeps as they are.
_MARKED = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Tally:
    """How many runs of a job ended alike, or are open."""

    #: None for runs without a job.
    job: str | None
    state: State
    consistency: Consistency
    runs: int


@dataclass(frozen=True)
class Unquiesced:
    """A cut that is not proven to be frozen throughout."""

    run: str
    job: str | None
    machine: str
    at: datetime
    state: State
    #: Why, as the run said; None when its job wanted no freeze.
    why: str | None


@dataclass(frozen=True)
class Frozen:
    """How long a guest was frozen."""

    machine: str
    windows: int
    mean_ms: float
    longest_ms: float


@dataclass(frozen=True)
class LastGood:
    """The newest run of a machine that is done, with its guest proven to be frozen through the cut."""

    machine: str
    #: None when there was none.
    run: str | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Window:
    """How long a guest was frozen in one run."""

    run: str
    at: datetime
    state: State
    window_ms: float
    #: None when the freeze, or the thaw, was not answered.
    hold_ms: float | None


@dataclass(frozen=True)
class Success:
    """How often a job did what was asked."""

    job: str
    #: Its runs that ended.
    ended: int
    #: Those of them that are done.
    done: int


@dataclass(frozen=True)
class Overview:
    """The journal at one moment, as whoever comes in wants to see it."""

    #: The runs that are open, stuck ones too, with their steps: oldest first.
    open: Sequence[Run]
    #: The last that failed or had to be recovered, without their steps: newest first.
    failures: Sequence[Run]
    #: Of each job that ran lately, by name.
    success: Sequence[Success]
    #: Of each machine that ever had a good run.
    last_good: Sequence[LastGood]


@dataclass(frozen=True)
class Report:
    """What became of all machines since some time."""

    since: datetime
    #: The newest first; of very many, not all.
    unquiesced: Sequence[Unquiesced]
    #: The longest first.
    frozen: Sequence[Frozen]
    #: For each machine of the configuration, and each one that ever had a good run.
    last_good: Sequence[LastGood]
    #: The machines of the configuration without a good run for too long.
    overdue: Sequence[str]


def last_good_of(known: Iterable[str], found: Iterable[LastGood]) -> Sequence[LastGood]:
    """What was found, and that there is nothing for other known machines. The longest ago first."""
    of = {each.machine: each for each in found}
    all_of_them = {**{name: LastGood(name) for name in known}, **of}.values()
    return sorted(all_of_them, key=lambda each: (each.at is not None, each.at, each.machine))


def overdue(known: Iterable[str], last_good: Iterable[LastGood], since: datetime) -> Sequence[str]:
    """The known machines that have no good run since then."""
    good = {each.machine for each in last_good if each.at is not None and each.at >= since}
    return sorted(set(known) - good)
