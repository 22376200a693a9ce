"""What the history answers as a whole: was it good, when was it last, how long did it take?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.model import State


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
