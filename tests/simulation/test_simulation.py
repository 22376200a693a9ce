"""No law is broken, in as many histories as there is time for here; `make soak` has more."""

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests.simulation.history import live

HISTORIES = 1_000
#: What the simulation must come to, or it proves nothing about it.
ENDS = {
    "done filesystem",
    "done crash",
    "done none",
    "failed none",
    "failed crash",
    "refused none",
    "cancelled none",
    "recovered none",
    "recovered crash",
    "stuck none",
}


@pytest.mark.timeout(600)
def test_no_law_is_broken() -> None:
    ends: Counter[str] = Counter()
    killed = burnt = 0
    for seed in range(1, HISTORIES + 1):
        history = live(seed)
        assert history.broken is None, f"python -m tests.simulation --seed {seed} --trace: {history.broken}"
        ends += history.ends
        killed += history.killed
        burnt += history.burnt
    assert set(ends) >= ENDS
    assert killed > HISTORIES / 10
    assert burnt > 0, "no fuse was the last who could thaw a guest"


def test_a_seed_goes_the_same_way_in_every_process() -> None:
    here = [live(seed, traced=True).fingerprint for seed in range(1, 21)]
    assert len(set(here)) == len(here)
    code = "from tests.simulation.history import live; [print(live(s, traced=True).fingerprint) for s in range(1, 21)]"
    there = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert there.stdout.split() == here


def test_reading_along_changes_nothing() -> None:
    assert [live(seed, traced=True).ends for seed in range(1, 51)] == [live(seed).ends for seed in range(1, 51)]
