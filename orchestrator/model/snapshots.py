"""What runs have made, and what becomes of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.model.disks import Place
from orchestrator.model.machines import Machine
from orchestrator.model.runs import Run


@dataclass(frozen=True)
class Snapshot:
    """What a run made of one machine, for as long as it is not certainly gone."""

    #: The run that made it, without its steps.
    run: Run
    machine: Machine
    #: The moment of the cut.
    created_at: datetime
    #: As the driver described it.
    made: Mapping[str, Any]
    #: When its removal began; from then on it cannot be restored. None: it is whole.
    let_go_at: datetime | None = None
    #: It was examined, and the last time found wrong.
    distrusted: bool = False


@dataclass(frozen=True)
class Located:
    """A snapshot, and where it is."""

    snapshot: Snapshot
    places: tuple[Place, ...] = ()
    #: Why its places are not known now.
    error: str | None = None


class Fate(StrEnum):
    """What pruning made of a snapshot."""

    KEPT = "kept"
    DUE = "due"  # no rule keeps it: the next pruning removes it
    REMOVED = "removed"
    FAILED = "failed"  # its removal did not come to its end: the next pruning goes on with it


@dataclass(frozen=True)
class Pruned:
    """What pruning made of one snapshot, and why."""

    snapshot: Snapshot
    fate: Fate
    #: Every rule that keeps it, or why it goes.
    reasons: tuple[str, ...]
    error: str | None = None
