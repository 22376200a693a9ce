"""`python -m tests.simulation`: many histories, or one of them again with its trace."""

import argparse
import multiprocessing
import sys
import time
from collections import Counter

from tests.simulation.history import History, live


def main() -> int:
    """Exit code 0 when every law held in every history."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--histories", type=int, default=2_000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first seed; the others follow")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--seed", type=int, help="this one alone")
    parser.add_argument("--trace", action="store_true", help="show all that happens in it")
    wanted = parser.parse_args()
    if wanted.seed is not None:
        return show(live(wanted.seed, traced=True), trace=wanted.trace)
    return soak(wanted.first, wanted.histories, wanted.jobs)


def soak(first: int, count: int, jobs: int) -> int:
    """Let many histories happen, and show the first in which a law was broken."""
    began = time.monotonic()
    ends: Counter[str] = Counter()
    killed = burnt = 0
    with multiprocessing.get_context("forkserver").Pool(jobs) as pool:
        for number, history in enumerate(pool.imap(live, range(first, first + count), chunksize=50), 1):
            ends += history.ends
            killed += history.killed
            burnt += history.burnt
            if history.broken:
                pool.terminate()
                return show(live(history.seed, traced=True), trace=True)
            if number % 5_000 == 0 or number == count:
                rate = number / (time.monotonic() - began) * 60
                print(
                    f"{number} histories, {killed} kills, {burnt} thaws by a fuse: every law held; {rate:.0f} a minute",
                    flush=True,
                )
    print("How the machines of their runs ended:")
    print(*(f"{count:10}  {end}" for end, count in ends.most_common()), sep="\n")
    return 0


def show(history: History, *, trace: bool) -> int:
    """Print what came of a history."""
    if trace:
        print(*history.trace, sep="\n")
    print(f"seed {history.seed}: {history.broken or 'every law held'}")
    return 1 if history.broken else 0


if __name__ == "__main__":
    sys.exit(main())
