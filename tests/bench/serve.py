"""`python -m tests.bench.serve [idle] [busy] [commits]`: what `quiesce serve` costs with 1,000 jobs, and 200 guests.

The guests are fakes on unix sockets, in this process: what is measured of them is not theirs. Processor time is that of
the service and its guard alone.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx

from orchestrator import owner
from orchestrator.clock import SystemClock
from orchestrator.journal import SqlJournal
from orchestrator.model import Action, Consistency, Horizon, Job, Machine, Outcome, State, Step, Target, Trigger
from orchestrator.recorder import new_run
from tests.fakes.agent import FakeAgent

JOBS, GUESTS = 1000, 200
#: Seconds for which an idle service is watched, two rounds; runs of each guest for which a busy one is.
IDLE, WAVES = 120.0, 2
COMMAND = Path(sys.executable).with_name("quiesce")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a process and its children have used."""

    seconds: float
    resident_mib: float


class Service:
    """`quiesce serve` over a configuration file, with a journal and a socket beside it."""

    def __init__(self, folder: Path, tables: Sequence[str]) -> None:
        self.folder, self.journal = folder, folder / "journal.db"
        self.api = folder / "api.sock"
        own = [f'[journal]\nurl = "sqlite:///{self.journal}"', f'[service]\nlisten = ["unix:{self.api}"]']
        (folder / "quiesce.toml").write_text("\n".join([*own, *tables]))

    @contextmanager
    def serving(self) -> Iterator["Running"]:
        """Within the `with`, it serves."""
        notified = str(self.folder / "notify.sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link, (self.folder / "log").open("w") as log:
            link.bind(notified)
            begin = time.monotonic()
            process = subprocess.Popen(
                [COMMAND, "--config", self.folder / "quiesce.toml", "serve"],
                env={**os.environ, "NOTIFY_SOCKET": notified},
                stderr=log,
                start_new_session=True,
            )
            try:
                link.settimeout(60)
                assert link.recv(100) == b"READY=1"
                ready = time.monotonic() - begin
                yield Running(process.pid, ready, _seconds(process.pid), self.api)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(120)
                Path(notified).unlink()


@dataclass(frozen=True)
class Running:
    """A service that is ready."""

    pid: int
    #: Seconds from its start until it was, and those of a core in it.
    ready: float
    begun: float
    api: Path

    def usage(self) -> Usage:
        """What it and its guard have used until now."""
        found = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True, check=False)
        pids = [self.pid, *map(int, found.stdout.split())]
        return Usage(sum(map(_seconds, pids)), _resident(self.pid))

    def metrics(self) -> str:
        """What Prometheus is told."""
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.api)), base_url="http://quiesce") as client:
            return client.get("/metrics", timeout=60).text


def _seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def idle(folder: Path) -> None:
    """A service that has nothing to do: 1,000 jobs, each of a machine whose agent answers."""
    names, hour = [f"m{number:04}" for number in range(JOBS)], datetime.now().astimezone().hour
    tables = [f'[machines.{name}]\nagent = "unix:{folder}/{name}"' for name in names]
    tables += [
        f'[jobs.{name}]\nmachines = ["{name}"]\ndriver = "command"\noptions = {{ cut = ["/bin/true"] }}\n'
        f'schedule = "{number % 60} {(hour + 6 + number % 12) % 24} * * *"'
        for number, name in enumerate(names)
    ]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(FakeAgent(folder / name))
        service = Service(folder, tables)
        SqlJournal.open(f"sqlite:///{service.journal}", SystemClock()).close()
        with service.serving() as running:
            before, begin = running.usage(), time.monotonic()
            time.sleep(IDLE)
            after, took = running.usage(), time.monotonic() - begin
            scraped = running.usage().seconds
            size = len(running.metrics())
            scrape = running.usage().seconds - scraped
    print(f"idle, {JOBS} jobs: ready after {running.ready:.2f} s, in which it had a core for {running.begun:.2f} s")
    print(f"idle, {JOBS} jobs: {after.resident_mib:.0f} MiB resident")
    print(f"idle, {JOBS} jobs: {(after.seconds - before.seconds) / took:.2%} of a core over {took:.0f} s")
    print(f"/metrics: {size / 1024:.0f} KiB, {scrape:.2f} s of a core")


def busy(folder: Path) -> None:
    """200 guests, each with a job that is due again every second."""
    names = [f"g{number:03}" for number in range(GUESTS)]
    tables = [f'[machines.{name}]\nagent = "unix:{folder}/{name}"' for name in names]
    tables += [
        f'[jobs.{name}]\nmachines = ["{name}"]\ndriver = "command"\noptions = {{ cut = ["/bin/true"] }}\nevery = "1s"'
        for name in names
    ]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(FakeAgent(folder / name))
        service = Service(folder, tables)
        with service.serving() as running, closing(_open(service)) as journal:
            while (first := _ended(journal)) < GUESTS:  # all begin at once, and so they come in waves
                time.sleep(0.1)
            before, begin = running.usage(), time.monotonic()
            while (runs := _ended(journal) - first) < WAVES * GUESTS:
                time.sleep(0.1)
            took, after = time.monotonic() - begin, running.usage()
    cost = (after.seconds - before.seconds) / runs
    print(f"{GUESTS} guests: {runs / took:.1f} runs/s, {cost * 1000:.1f} ms of a core for each, guard included")
    print(f"{GUESTS} guests: {after.resident_mib:.0f} MiB resident")


def _open(service: Service) -> SqlJournal:
    return SqlJournal.open(f"sqlite:///{service.journal}", SystemClock())


def _ended(journal: SqlJournal) -> int:
    """How many runs have ended."""
    since = SystemClock().now().replace(year=2000)
    return sum(tally.runs for tally in journal.statistics().tally(since) if tally.state is State.DONE)


def commits(folder: Path) -> None:
    """The same commits as a run's, and nothing else."""
    clock, runs = SystemClock(), 300
    with closing(SqlJournal.open(f"sqlite:///{folder}/bare.db", clock)) as journal:
        schedules = journal.schedules()
        begin, used = time.monotonic(), time.process_time()
        for number in range(runs):
            job = Job(f"j{number % GUESTS}", ("vm",), "command")
            run = journal.open_run(
                replace(
                    new_run(clock, owner.current(), job, Trigger.SCHEDULE, (Target(Machine("vm", agent="/vm")),)),
                    id=f"r{number}",
                )
            )
            target = replace(run.targets[0], state=State.RUNNING)
            journal.record(run, _steps(2))
            journal.move(run, target, _steps(4))
            journal.move(run, replace(target, state=State.DONE, consistency=Consistency.FILESYSTEM), _steps(5))
            now = clock.now()
            schedules.decided({job.name: Horizon("1", now, now)})
        took, used = time.monotonic() - begin, time.process_time() - used
    print(f"the commits alone, one run after the other: {runs / took:.1f} runs/s, {used / runs * 1000:.1f} ms for each")


def _steps(count: int) -> list[Step]:
    now = SystemClock().now()
    return [Step("vm", Action.FREEZE, Outcome.DONE, now, time.monotonic(), 1.5, {"frozen": 2}) for _ in range(count)]


def main() -> None:
    """Measure, and print the figures."""
    print(f"load before: {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors")
    for measure in [each for each in (idle, busy, commits) if each.__name__ in sys.argv[1:] or not sys.argv[1:]]:
        with tempfile.TemporaryDirectory(prefix="quiesce-bench-") as folder:
            measure(Path(folder))


if __name__ == "__main__":
    main()
