"""`python -m tests.matrix`: try all of it on simulated guests, and write into the document what was seen."""

import multiprocessing
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain
from typing import Any

from tests.matrix import plan, pruning
from tests.matrix.case import live
from tests.matrix.document import write
from tests.matrix.plan import COPIES, FUSED, REPAIR, boundaries, pairs, singles, with_faults, with_fuse
from tests.tables import table


def main() -> int:
    """Exit code 0 when everything held."""
    whole = chain(singles(), with_faults(), pairs(), with_fuse())
    copies = chain(singles(COPIES), with_faults(COPIES), pairs(COPIES))
    usual = [boundary.name for boundary in boundaries(FUSED)]
    besides = [boundary.name for boundary in boundaries(COPIES) if boundary.name not in usual]
    crossed = list(dict.fromkeys(pruning.live(pruning.Case()).first))
    held = [
        fill("fake", _LEGEND, whole, live, plan.cell, [*usual, REPAIR], plan.Column),
        fill("copies", _COPIES, copies, live, plan.cell, [*besides, REPAIR], plan.Column),
        fill("pruning", _PRUNING, pruning.places(), pruning.live, pruning.cell, crossed, pruning.Column),
    ]
    return 0 if all(held) else 1


def fill(
    part: str,
    legend: str,
    places: Iterable[Any],
    live: Callable[[Any], Any],
    cell: Callable[[Sequence[Any]], str],
    names: Sequence[str],
    columns: type[StrEnum],
) -> bool:
    """Try all places of one part of the document, and write into it what was seen; say whether everything held."""
    began, tried = time.monotonic(), list(places)
    seen: defaultdict[tuple[str, str], list[Any]] = defaultdict(list)
    with multiprocessing.get_context("forkserver").Pool(os.cpu_count()) as pool:
        for place, one in zip(tried, pool.imap(live, [place.case for place in tried], chunksize=20), strict=True):
            seen[place.boundary, place.column].append(one)
            if one.broken is not None:
                print(f"{place}: {one.broken}")
    rows = [[name, *(cell(seen[name, column]) for column in columns)] for name in names]
    broken = sum(one.broken is not None for cases in seen.values() for one in cases)
    said = "all held" if not broken else f"**{broken} did not hold**"
    head = f"{len(tried)} cases on {datetime.now(UTC):%Y-%m-%d}, in {time.monotonic() - began:.0f} s: {said}."
    write(part, f"{head} {legend}\n\n{table(['boundary', *columns], rows)}")
    print(f"{part}: {head}")
    return not broken


_LEGEND = """A cell says in how many cases it held, and the longest time for which the
kernel kept a file system frozen in any of them; without a time, nothing was frozen. The guest is one with two file
systems on an agent's socket, `freeze_timeout` is 5 s, `hold_limit` 2 s, `thaw_timeout` 20 s; time is virtual. A fuse
lasts 22 s, and nobody recovers before it has burnt."""
_COPIES = """The same for a run whose cut only begins a
copy: the boundaries that it has besides, all others were tried, too. What was seen of a copy: it is published, whole,
or nothing is left of it."""
_PRUNING = """Two of three snapshots are let go, each of two
overlays, which are merged into the files below them. What was seen: the machine and every point in time that is kept
read the same after each kill; in the end nothing is left of the others, and the history tells it."""


if __name__ == "__main__":
    sys.exit(main())
