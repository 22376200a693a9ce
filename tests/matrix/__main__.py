"""`python -m tests.matrix`: try all of it on simulated guests, and write into the document what was seen."""

import multiprocessing
import os
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from itertools import chain

from tests.matrix.case import Seen, live
from tests.matrix.document import write
from tests.matrix.plan import FUSED, REPAIR, Column, boundaries, cell, pairs, singles, with_faults, with_fuse
from tests.tables import table


def main() -> int:
    """Exit code 0 when everything held."""
    began = time.monotonic()
    seen: defaultdict[tuple[str, str], list[Seen]] = defaultdict(list)
    places = list(chain(singles(), with_faults(), pairs(), with_fuse()))
    with multiprocessing.get_context("forkserver").Pool(os.cpu_count()) as pool:
        for place, one in zip(places, pool.imap(live, [place.case for place in places], chunksize=20), strict=True):
            seen[place.boundary, place.column].append(one)
            if one.broken is not None:
                print(f"{place}: {one.broken}")
    names = [boundary.name for boundary in boundaries(FUSED)]
    rows = [[name, *(cell(seen[name, column]) for column in Column)] for name in (*names, REPAIR)]
    broken = sum(one.broken is not None for cases in seen.values() for one in cases)
    said = "all held" if not broken else f"**{broken} did not hold**"
    head = f"{len(places)} cases on {datetime.now(UTC):%Y-%m-%d}, in {time.monotonic() - began:.0f} s: {said}."
    write("fake", f"{head} {_LEGEND}\n\n{table(['boundary', *Column], rows)}")
    print(head)
    return 1 if broken else 0


_LEGEND = """A cell says in how many cases it held, and the longest time for which the
kernel kept a file system frozen in any of them; without a time, nothing was frozen. The guest is one with two file
systems on an agent's socket, `freeze_timeout` is 5 s, `hold_limit` 2 s, `thaw_timeout` 20 s; time is virtual. A fuse
lasts 22 s, and nobody recovers before it has burnt."""


if __name__ == "__main__":
    sys.exit(main())
