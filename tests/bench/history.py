"""What a long history costs to read: the journal's pages on SQLite and PostgreSQL, against the most they may take.

The journal is filled by the engines themselves, not run by run: 400 days of 1000 machines in 200 jobs, ten steps in
each run, one run in fifty failed. The pages are read as the product reads them: the newest, and those of any time.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import create_engine, text

from orchestrator.answers import Filter, Mark
from orchestrator.clock import SystemClock
from orchestrator.journal import SqlJournal
from orchestrator.model import Consistency, Job, Machine, State
from tests.postgres import running_cluster
from tests.tables import table

DAYS = 400
STEPS = 10
#: Of the runs of a page.
ROWS = 50
#: Milliseconds that 95 of 100 reads may take at most.
LIMIT = 50

#: Two numbers that look random, for the n-th run: who is run, and how it ends.
_WHO, _HOW = "(cast(n AS bigint) * 48271 % 2147483647)", "(cast(n AS bigint) * 69621 % 2147483647)"
_OPEN = "n >= :runs - 5"  # three stuck runs and two that run now, on machines of their own

_RUNS = f"""
INSERT INTO runs (id, job_name, job, trigger, owner, started_at, finished_at, state, consistency, error)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :runs - 1),
states AS (SELECT n, {{at}} AS at, {_WHO} % 200 AS job,
    CASE WHEN n >= :runs - 2 THEN 'running' WHEN {_OPEN} THEN 'stuck' WHEN {_HOW} % 50 = 7 THEN 'failed'
    WHEN {_HOW} % 1000 = 11 THEN 'recovered' ELSE 'done' END AS state FROM numbers)
SELECT 'r' || (10000000 + n), 'job' || job, replace('{{job}}', '@', 'job' || job),
    'schedule', 'host/boot/1/1', at, CASE WHEN {_OPEN} THEN NULL ELSE at END, state,
    CASE WHEN state != 'done' THEN 'none' WHEN {_HOW} % 30 = 3 THEN 'crash' ELSE 'filesystem' END,
    CASE WHEN state = 'failed' THEN 'the agent does not answer' END
FROM states
"""  # noqa: S608 - our own words

_TARGETS = f"""
INSERT INTO targets (run_id, machine, position, spec, state, consistency, window_ms, hold_ms, error, started_at)
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < :runs - 1),
machines AS (SELECT n, CASE WHEN {_OPEN} THEN 'open' || (:runs - n) ELSE 'machine' || ({_WHO} % 1000) END AS machine
    FROM numbers)
SELECT 'r' || (10000000 + n), machine, 0, replace('{{machine}}', '@', machine), state, consistency, 40.5 + n % 90,
    30.5 + n % 90, error, started_at FROM machines JOIN runs ON runs.id = 'r' || (10000000 + n)
"""  # noqa: S608 - likewise

_STEPS = """
INSERT INTO steps (run_id, seq, machine, action, outcome, at, monotonic, duration_ms, figures)
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :steps)
SELECT run_id, n, machine, 'freeze', 'done', started_at, n, 1.5, '{{"count": 2}}' FROM targets CROSS JOIN numbers
"""

#: When the n-th run began, as each engine keeps it: they are evenly spread.
_AT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f000', :first, (n * :spacing) || ' seconds')",
    "postgresql": "cast(:first as timestamptz) + n * cast(:spacing as double precision) * interval '1 second'",
}


#: A job and a machine as the journal keeps them, for an engine to put a name in.
_JOB = json.dumps(asdict(Job("@", (), "backup")))
_MACHINE = json.dumps(asdict(Machine("@", hypervisor="qemu:///system")))


_QUICKLY = {"sqlite": "PRAGMA cache_size = -500000", "postgresql": "SET LOCAL session_replication_role = replica"}


@dataclass(frozen=True)
class Reading:
    """How long one kind of page took, in milliseconds."""

    engine: str
    what: str
    took: list[float]

    @property
    def p95(self) -> float:
        return quantiles(self.took, n=20)[-1]

    def row(self) -> list[str]:
        met = "met" if self.p95 <= LIMIT else "**missed**"
        return [self.engine, self.what, f"{median(self.took):.1f}", f"{self.p95:.1f}", met]


def fill(url: str, runs: int, now: datetime) -> None:
    """Write `runs` runs that end `now` into the empty journal at `url`."""
    engine = create_engine(url)
    first = now - timedelta(days=DAYS)
    given = {
        "runs": runs,
        "steps": STEPS,
        "spacing": DAYS * 86400 / runs,
        "first": f"{first:%Y-%m-%d %H:%M:%S}" if engine.name == "sqlite" else first,
    }
    with engine.begin() as connection:
        # Looking up ten million times what the statements make right would take longer than all else.
        connection.exec_driver_sql(_QUICKLY[engine.name])
        for statement in (_RUNS, _TARGETS, _STEPS):
            words = statement.format(at=_AT[engine.name], job=_JOB, machine=_MACHINE)
            connection.execute(text(words), {name: value for name, value in given.items() if f":{name}" in words})
    if engine.name == "postgresql":  # which its autovacuum does by itself
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def pages(journal: SqlJournal, runs: int, now: datetime) -> dict[str, Callable[[int], object]]:
    """What is read, by what it is called; each is given the number of the reading."""
    ledger, month = journal.ledger(), now - timedelta(days=30)

    def a_filter(number: int) -> Filter:
        filters = [
            Filter(job=f"job{number % 200}"),
            Filter(machine=f"machine{number * 7 % 1000}"),
            Filter(state=State.FAILED),
            Filter(consistency=Consistency.CRASH),
            Filter(job=f"job{number % 200}", state=State.FAILED),
            Filter(job=f"job{number % 200}", consistency=Consistency.CRASH),
            Filter(machine=f"machine{number * 7 % 1000}", state=State.RECOVERED),
            Filter(state=State.CANCELLED, since=month),
            Filter(state=State.FAILED, since=month, until=now - timedelta(days=20)),
        ]
        return filters[number % len(filters)]

    def deep(number: int) -> Mark:
        return Mark(now - timedelta(days=DAYS * (number % 97) / 97), "r")

    return {
        "`quiesce history`": lambda number: journal.history(ROWS),
        "history, a page anywhere": lambda number: ledger.page(Filter(), deep(number), ROWS),
        "filtered, the first page": lambda number: ledger.page(a_filter(number), None, ROWS),
        "filtered, a page anywhere": lambda number: ledger.page(a_filter(number), deep(number), ROWS),
        "overview": lambda number: ledger.overview(month, 10),
        "a machine's windows": lambda number: ledger.windows(f"machine{number * 7 % 1000}", 200),
        "a run with its steps": lambda number: journal.run(f"r{10000000 + number * 7919 % runs}"),
    }


def measure(url: str, engine: str, runs: int, readings: int) -> Iterator[Reading]:
    """Fill the journal at `url` and read it."""
    SqlJournal.open(url, SystemClock()).close()
    now, began = datetime.now(UTC), time.perf_counter()
    fill(url, runs, now)
    print(
        f"--- {engine}: {runs} runs, {runs * STEPS} steps, written in {time.perf_counter() - began:.0f} s", flush=True
    )
    with closing(SqlJournal.open(url, SystemClock())) as journal:
        for what, read in pages(journal, runs, now).items():
            read(0)  # the first one connects and compiles
            yield Reading(engine, what, [_milliseconds(read, number) for number in range(1, readings + 1)])


def _milliseconds(read: Callable[[int], object], number: int) -> float:
    began = time.perf_counter()
    read(number)
    return (time.perf_counter() - began) * 1000


@contextmanager
def urls() -> Iterator[dict[str, str]]:
    """An empty place for a journal on each engine."""
    with tempfile.TemporaryDirectory(prefix="quiesce-history-") as folder, running_cluster() as cluster:
        yield {"SQLite": f"sqlite:///{Path(folder)}/journal.db", "PostgreSQL": cluster.url(cluster.create())}


def main() -> int:
    """Measure, and return 0 when every page is read in time."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.history", description="what a long history costs")
    parser.add_argument("--runs", type=int, default=1_000_000, help="runs in the journal (default 1000000)")
    parser.add_argument("--readings", type=int, default=200, help="readings of each page (default 200)")
    asked = parser.parse_args()
    with urls() as places:
        found = [each for name, url in places.items() for each in measure(url, name, asked.runs, asked.readings)]
    head = ["engine", f"{asked.runs} runs", "median, ms", "p95, ms", f"at most {LIMIT} ms"]
    print(table(head, [reading.row() for reading in found]))
    return 0 if all(reading.p95 <= LIMIT for reading in found) else 1


if __name__ == "__main__":
    sys.exit(main())
