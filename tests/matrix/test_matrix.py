"""Everything holds, whatever is ended where; and the document tells of every boundary that there is."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice

import pytest

from tests.matrix.boundaries import Trouble, troubles
from tests.matrix.case import Case, live
from tests.matrix.document import read
from tests.matrix.plan import COPIES, FUSED, Column, Place, boundaries, pairs, singles, with_faults, with_fuse
from tests.simulation.mutants import (
    Mutant,
    guard_armed_after_the_freeze,
    guard_that_does_not_fence,
    guard_that_does_not_watch,
    recovery_closes_first,
)
from tests.simulation.weather import Fault
from tests.tables import rows

#: Of the cases that are many, `make test` tries each one of so many, and `make soak` all.
SAMPLE = 12


Many = Callable[[Case], Iterator[Place]]


def broken(places: Iterable[Place]) -> list[str]:
    return [f"{place}: {seen.broken}" for place in places if (seen := live(place.case)).broken is not None]


@pytest.mark.timeout(600)
def test_a_run_may_be_ended_at_every_boundary() -> None:
    assert broken(singles()) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("many", [with_faults, pairs])
def test_and_with_every_fault_and_with_its_recovery(many: Many) -> None:
    assert broken(islice(many(Case()), 0, None, SAMPLE)) == []


@pytest.mark.timeout(600)
def test_and_a_group_too() -> None:
    assert broken(islice(singles(Case(group=True)), 0, None, 3)) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("many", [singles, with_faults, pairs])
def test_and_a_copy_and_its_publication_too(many: Many) -> None:
    assert broken(islice(many(Case(copies=True)), 0, None, 3 if many is singles else 3 * SAMPLE)) == []


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("case", [Case(), Case(group=True), Case(copies=True)], ids=["alone", "group", "copy"])
@pytest.mark.parametrize("many", [singles, with_faults, pairs])
def test_and_so_in_all_combinations(many: Many, case: Case) -> None:
    assert broken(many(case)) == []


def test_a_fuse_thaws_where_nobody_else_is_left() -> None:
    """And neither the run nor its recovery calls good what it let go."""
    thawed = [live(place.case) for place in with_fuse()]
    assert [seen.broken for seen in thawed if seen.broken is not None] == []
    burnt = [seen for seen in thawed if seen.thawed_by == "fuse"]
    assert len(burnt) > 5
    assert all(seen.frozen is not None and seen.frozen < 22 for seen in burnt)
    assert {seen.ended for seen in burnt} == {"recovered none", "recovered crash"}


def test_a_run_in_which_nothing_goes_wrong_is_done() -> None:
    seen = live(Case())
    assert (seen.broken, seen.ended) == (None, "done filesystem")


def test_a_run_crosses_every_seam() -> None:
    seams = {boundary.name.split()[1].split(".")[0] for boundary in boundaries()}
    assert seams == {"agent", "driver", "journal", "guard"}


@pytest.mark.parametrize("trouble", troubles(list(boundaries())), ids=lambda t: f"{t.fault} {t.boundary}")
def test_every_fault_strikes(trouble: Trouble) -> None:
    """Or its column in the table would say nothing."""
    usual, seen = live(Case(), traced=True), live(Case(trouble=trouble), traced=True)
    assert seen.broken is None
    assert seen.trace != usual.trace


def test_a_freeze_that_lands_late_is_seen_by_whoever_thaws() -> None:
    late = Trouble(Fault.LATE, "before agent.freeze")
    freeze = next(boundary for boundary in live(Case(trouble=late)).run if boundary.name == "after agent.freeze")
    assert live(Case(trouble=late, end=freeze.crossing)).thawed_by == "guard"
    assert live(Case(trouble=late, end=freeze.crossing, with_guard=True)).thawed_by == "recover"


@pytest.mark.parametrize(
    "mutant",
    [
        guard_armed_after_the_freeze,
        guard_that_does_not_fence,
        guard_that_does_not_watch,
        recovery_closes_first,
    ],
    ids=lambda mutant: mutant.__name__,
)
def test_a_broken_law_is_noticed(mutant: Mutant) -> None:
    with mutant():
        late = (place for place in with_faults(Case(group=True)) if place.column is Column.LATE)
        assert any(live(place.case).broken is not None for place in chain(singles(), late))


def test_the_document_tells_of_every_boundary_of_today() -> None:
    told = {row[0] for part in ("fake", "copies") for row in rows(read(part))}
    crossed = (*boundaries(FUSED), *boundaries(COPIES))
    untold = [boundary.name for boundary in crossed if boundary.name not in told]
    assert not untold, "write the document anew: .venv/bin/python -m tests.matrix"


@pytest.mark.parametrize("part", ["fake", "copies", "pruning"])
def test_the_document_tells_of_nothing_that_did_not_hold(part: str) -> None:
    assert "BROKEN" not in read(part)
    assert "not hold" not in read(part)
