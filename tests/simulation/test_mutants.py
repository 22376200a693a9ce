"""The simulation notices every law that is broken on purpose, soon."""

import pytest

from tests.simulation.history import live
from tests.simulation.mutants import MUTANTS, Mutant

#: Most are found within a hundred histories, all within a thousand; which ones changes with everything else.
PATIENCE = 5_000


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_law_is_found(mutant: Mutant) -> None:
    with mutant():
        found = next((history for seed in range(1, PATIENCE) if (history := live(seed)).broken), None)
    assert found is not None, f"{PATIENCE} histories, and nobody noticed"
    assert live(found.seed).broken is None, "it was not the mutant"
