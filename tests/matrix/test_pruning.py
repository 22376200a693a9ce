"""Pruning and merging, whatever is ended where: nothing that is kept is harmed, and nothing is left that is let go."""

from collections.abc import Iterable
from itertools import islice

import pytest

from orchestrator.drivers.external_snapshot import ExternalSnapshot
from tests.fakes.merges import MemoryMerges
from tests.matrix.document import read
from tests.matrix.pruning import Case, Place, live, places
from tests.tables import rows

#: Of the cases that are many, `make test` tries each one of so many, and `make soak` all.
SAMPLE = 23


def broken(places: Iterable[Place]) -> list[str]:
    return [f"{place}: {seen}" for place in places if (seen := live(place.case).broken) is not None]


def test_a_pruning_may_be_ended_at_every_boundary_and_the_next_one_too() -> None:
    assert broken(islice(places(), 0, None, SAMPLE)) == []


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_and_so_in_all_combinations() -> None:
    assert broken(places()) == []


def test_a_pruning_crosses_what_it_begins_and_what_it_ends() -> None:
    crossed = live(Case()).first
    assert {"before journal.record remove intent", "after machine.begin", "before machine.close"} <= set(crossed)
    assert "after journal.record merge done, remove done" in crossed


@pytest.mark.parametrize(
    ("owner", "call", "cut"), [(ExternalSnapshot, "give_way", True), (MemoryMerges, "close", False)]
)
def test_a_law_that_is_broken_is_noticed(owner: type, call: str, cut: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [Case(end, cut=cut) for end in range(1, len(live(Case()).first) + 1)]
    monkeypatch.setattr(owner, call, lambda *_: None)
    assert any(live(case).broken is not None for case in every)


def test_the_document_tells_of_every_boundary_of_today() -> None:
    told = {row[0] for row in rows(read("pruning"))}
    untold = [name for name in live(Case()).first if name not in told]
    assert not untold, "write the document anew: .venv/bin/python -m tests.matrix"
