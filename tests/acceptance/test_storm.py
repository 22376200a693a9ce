"""The service killed again and again, at random, while it works: whatever it was doing then, in the end all is well.

Guests are fakes on unix sockets, whose file systems are looked at, and a real one. Each cut writes down for which run
it was made. The seed is printed with a failure; `QUIESCE_STORM=SEED` repeats it, as far as a host repeats anything.
"""

import http.client
import itertools
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.product import COMMAND, Product
from tests.fakes.agent import FakeAgent
from tests.lab import PATIENCE, Guest, wait_for

#: How often a job is due, and between what a service is let live, in seconds.
EVERY, LIVES = 2, (0.1, 2.5)


@dataclass
class Demand:
    """Asks for runs by the API, each under a key of its own, until it is told their ids."""

    api: Path
    machines: Sequence[str]
    chance: random.Random
    #: The ids that were told, by key: more than one would be a run that is doubled.
    told: dict[str, set[str]] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._ask_on, daemon=True)

    def begin(self) -> None:
        """Ask again and again, on a thread."""
        self._thread.start()

    def end(self) -> None:
        """Return when all that was asked for is told."""
        self._ended.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "a run that was asked for was never begun"

    def _ask_on(self) -> None:
        for number in itertools.count():
            if self._ended.is_set():
                return
            key, machine = f"key {number}", self.chance.choice(self.machines)
            while not self._ask(key, machine):
                time.sleep(0.05)
            self._ask(key, machine)  # told twice, run once
            time.sleep(0.2)

    def _ask(self, key: str, machine: str) -> bool:
        """Ask once; say whether it was told."""
        found = ask(self.api, "POST", "/api/v1/runs", {"job": "byhand", "machine": machine}, **{"Idempotency-Key": key})
        if found is None or found[0] != 202:  # it was killed, or is ending
            return False
        self.told.setdefault(key, set()).add(found[1]["id"])
        return True


def ask(api: Path, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any] | None:
    """What the service answers at its unix socket: the status and the document; None when it does not."""
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(PATIENCE)
        connection = http.client.HTTPConnection("quiesce")
        connection.sock = link
        try:
            link.connect(str(api))
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", **headers})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None


class Storm:
    """A configuration with a job for each machine, and the service that is killed."""

    def __init__(self, product: Product, seed: int, real: Sequence[str]) -> None:
        self.product, self.chance, self._real = product, random.Random(seed), list(real)  # noqa: S311 - chance, no secret
        self.cuts, self.log = product.folder / "cuts", product.folder / "log"
        program = product.folder / "cut"
        program.write_text(f'#!/bin/sh\necho "$QUIESCE_RUN $QUIESCE_MACHINE" >>{self.cuts}\n')
        program.chmod(0o755)
        self._cut = [str(program)]
        self.guests: dict[str, FakeAgent] = {}

    def configure(self, count: int, stack: ExitStack) -> None:
        """Bring up the fake guests, and give each machine a job; two of them are in a group, too."""
        for number in range(count):
            name = f"m{number}"
            self.guests[name] = stack.enter_context(FakeAgent(self.product.folder / name))
            self.product.table(f"machines.{name}", agent=f"unix:{self.product.folder / name}")
        for name in (*self.guests, *self._real):
            self.product.job(name, name=f"job-{name}", cut=self._cut, every=f"{EVERY}s")
        self.product.job("m0", "m1", name="pair", cut=self._cut, every=f"{2 * EVERY}s", group=True)
        self.product.job("m*", name="byhand", cut=self._cut)

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """Within the `with`, the service is there, or comes up. It is killed in the end if it has not ended."""
        words = [str(COMMAND), "--config", str(self.product.file), "serve"]
        with self.log.open("ab") as log, subprocess.Popen(words, stderr=log, start_new_session=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def kill(self) -> None:
        """Let the service live for a while, and kill it: mostly at work, now and then while it comes up."""
        with self.serving() as process:
            if self.chance.random() < 0.8:
                wait_for(lambda: self.is_ready() or None, PATIENCE, "a service that is ready", poll=0.02)
            time.sleep(self.chance.uniform(*LIVES))
            assert process.poll() is None, self.log.read_text()

    def is_ready(self) -> bool:
        """Whether the service answers."""
        return (ask(self.product.api, "GET", "/readyz") or (0,))[0] == 200

    def settle(self, process: "subprocess.Popen[bytes]") -> None:
        """Let the service live until each job was run again, and end it as an operator does."""
        [(last,)] = self.asked("SELECT max(scheduled_for) FROM runs")
        again = "SELECT DISTINCT job_name FROM runs WHERE state = 'done' AND scheduled_for > ?"
        jobs = {f"job-{name}" for name in (*self.guests, *self._real)}
        wait_for(lambda: jobs <= {job for (job,) in self.asked(again, last)} or None, PATIENCE, "a run of each job")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0

    def asked(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What the journal's file says."""
        with closing(sqlite3.connect(self.product.journal, timeout=PATIENCE)) as connection:
            return connection.execute(query, values).fetchall()


def check(storm: Storm, demand: Demand) -> None:
    """No run lost, none doubled, no guest frozen, and every run closed with a state that is true."""
    assert {name: guest.frozen for name, guest in storm.guests.items() if guest.frozen} == {}
    assert not any(guest.believes_frozen for guest in storm.guests.values())

    assert storm.asked("SELECT id, state FROM runs WHERE state IN ('pending', 'running', 'stuck')") == []
    assert storm.asked("SELECT id FROM runs WHERE finished_at IS NULL") == []
    times = storm.asked("SELECT job_name, scheduled_for FROM runs WHERE scheduled_for IS NOT NULL")
    assert len(times) == len(set(times)) > 0
    # Nothing is let go here but what was due while an earlier time was: so the last that was decided has its run.
    newest = "SELECT job_name, max(scheduled_for) FROM runs WHERE scheduled_for IS NOT NULL GROUP BY job_name"
    assert dict(storm.asked(newest)) == dict(storm.asked("SELECT job_name, horizon FROM horizons"))
    assert "'let go'" not in storm.log.read_text()

    assert all(len(ids) == 1 for ids in demand.told.values())
    begun = {run for (run,) in storm.asked("SELECT id FROM runs WHERE job_name = 'byhand'")}
    assert begun == {run for ids in demand.told.values() for run in ids}

    cuts = Counter(tuple(line.split()) for line in storm.cuts.read_text().splitlines())
    assert max(cuts.values()) == 1
    targets = storm.asked("SELECT run_id, machine, state, consistency FROM targets")
    for run, machine, state, consistency in targets:
        if state == "done":
            assert ((run, machine) in cuts, consistency) == (True, "filesystem")
        elif (run, machine) in cuts:
            assert state in {"recovered", "failed", "cancelled"}
    assert {machine for _, machine, state, _ in targets if state == "done"} >= set(storm.guests)


def rage(product: Product, kills: int, guests: int, real: Sequence[str] = ()) -> Counter[str]:
    """Kill the service so many times over so many fake guests, look at what is left, and count the runs by state."""
    seed = int(os.environ.get("QUIESCE_STORM") or time.time_ns() % 1_000_000)
    print(f"QUIESCE_STORM={seed}")  # noqa: T201 - pytest shows it with a failure
    storm = Storm(product, seed, real)
    with ExitStack() as stack:
        storm.configure(guests, stack)
        demand = Demand(product.api, list(storm.guests), random.Random(seed))  # noqa: S311 - chance, no secret
        demand.begin()
        for _ in range(kills):
            storm.kill()
        with storm.serving() as process:
            demand.end()
            storm.settle(process)
        check(storm, demand)
    return Counter(dict(storm.asked("SELECT state, count(*) FROM runs GROUP BY state")))


def test_a_service_that_is_killed_again_and_again_loses_and_doubles_nothing(product: Product) -> None:
    rage(product, kills=3, guests=4)


@pytest.mark.soak
@pytest.mark.real
@pytest.mark.timeout(1800)
def test_fifty_kills_with_many_guests_and_a_real_one(product: Product, vm: Guest) -> None:
    states = rage(product, kills=50, guests=40, real=["vm"])
    assert not vm.fs_frozen()
    assert min(states["done"], states["recovered"]) > 10, states
    print(states)  # noqa: T201 - what the storm was like
