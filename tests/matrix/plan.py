"""Which cases there are, and where each of them stands in the table."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.matrix.boundaries import Boundary, Trouble, troubles
from tests.matrix.case import Case, Seen, live
from tests.simulation.weather import Fault


class Column(StrEnum):
    """What is done to the run at a boundary, or goes wrong beside."""

    ALONE = "SIGKILL"
    HUNG = "SIGSTOP"
    GUARD = "its guard too"
    REPLIES = "a reply of the agent lost"
    LATE = "the freeze lands late"
    CUT = "a driver's call fails, hangs or is unheard"
    JOURNAL = "the journal refuses, or is unheard"
    RECOVERY = "recovery ended too"
    BOTH = "recovery and guard ended too"
    FUSE = "its guard too, with a fuse"


#: The row of what a run does only when something went wrong.
REPAIR = "any other, of a retry or a repair"

_COLUMNS = {
    Fault.REPLY_LOST: Column.REPLIES,
    Fault.LATE: Column.LATE,
    Fault.JOURNAL_REFUSES: Column.JOURNAL,
    Fault.JOURNAL_LOST: Column.JOURNAL,
}


@dataclass(frozen=True)
class Place:
    """A case, and the cell of the table that it belongs to."""

    boundary: str
    column: Column
    case: Case


#: The run that the table is about, and the same with a fuse, which crosses a few more boundaries.
ALONE, FUSED = Case(), Case(fuse=True)
#: One whose cut only begins a copy.
COPIES = Case(copies=True)


def boundaries(whole: Case = ALONE) -> tuple[Boundary, ...]:
    """Every boundary of a run in which nothing goes wrong, in their order."""
    return tuple(live(whole).run)


def singles(whole: Case = ALONE) -> Iterator[Place]:
    """The run is ended at every boundary: alone, by a stop, and together with its guard."""
    for boundary in boundaries(whole):
        ended = replace(whole, end=boundary.crossing)
        yield Place(boundary.name, Column.ALONE, ended)
        yield Place(boundary.name, Column.HUNG, replace(ended, hangs=True))
        yield Place(boundary.name, Column.GUARD, replace(ended, with_guard=True))


def with_faults(whole: Case = ALONE) -> Iterator[Place]:
    """Every fault of every call, and the run ended at every boundary that it has then."""
    usual = boundaries(whole)
    known = {boundary.name for boundary in usual}
    for trouble in troubles(usual):
        for boundary in live(replace(whole, trouble=trouble)).run:
            row = boundary.name if boundary.name in known else REPAIR
            yield Place(row, _column(trouble), replace(whole, trouble=trouble, end=boundary.crossing))


def pairs(whole: Case = ALONE) -> Iterator[Place]:
    """The run is ended at every boundary, and the recovery after it at every one of its own."""
    for boundary in boundaries(whole):
        for column in (Column.RECOVERY, Column.BOTH):
            case = replace(whole, end=boundary.crossing, with_guard=column is Column.BOTH)
            for second in live(case).recovery:
                yield Place(boundary.name, column, replace(case, recovery_end=second.crossing))


def with_fuse() -> Iterator[Place]:
    """The run is ended with its guard at every boundary: what is frozen then, its fuse alone can thaw."""
    for boundary in boundaries(FUSED):
        yield Place(boundary.name, Column.FUSE, replace(FUSED, end=boundary.crossing, with_guard=True))


def cell(seen: Iterable[Seen]) -> str:
    """What was seen in one or more cases."""
    all_seen = list(seen)
    if not all_seen:
        return "-"
    broken = next((one.broken for one in all_seen if one.broken is not None), None)
    if broken is not None:
        return f"**BROKEN**: {broken}"
    cases = f" in {len(all_seen)}" if len(all_seen) > 1 else ""
    frozen = max((one.frozen for one in all_seen if one.frozen is not None), default=None)
    return f"held{cases}" if frozen is None else f"held{cases}, {frozen:.1f} s"


def _column(trouble: Trouble) -> Column:
    return _COLUMNS.get(trouble.fault, Column.CUT)
