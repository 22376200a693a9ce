"""One history: a world drawn from a seed, a storm, and what is left of it after the last recovery."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest.mock import patch

from orchestrator.recovery import InHand
from tests.simulation import processes
from tests.simulation.reckoning import check_run
from tests.simulation.scheduler import Scheduler
from tests.simulation.weather import Weather
from tests.simulation.world import STORM, World


@dataclass(frozen=True)
class History:
    """What came of one seed."""

    seed: int
    #: The law that was broken, in words; None when all hold.
    broken: str | None
    #: How the machines of its runs ended, each as "state consistency", and how many times.
    ends: Counter[str]
    #: How many processes were killed.
    killed: int
    #: How many file systems were let go by a fuse.
    burnt: int
    trace: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """The same for two histories that went the same way."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def live(seed: int, *, traced: bool = False) -> History:
    """Let the history of `seed` happen. It is the same each time, whatever the machine."""
    chance = Random(seed)  # noqa: S311 - it must be the same each time
    trace: list[str] | None = [] if traced else None
    scheduler = Scheduler(chance, trace)
    world = World(chance, scheduler, Weather(chance))
    with of_the_simulation(scheduler), world.host.serving():
        try:
            processes.populate(world)
            scheduler.at(STORM, world.clear)
            let_happen(world, "the storm")
            processes.begin(world, processes.last_recovery, scheduler.now)
            let_happen(world, "the last recovery")
            for run in world.journal.runs.values():
                check_run(world.laws, run, world.guests, world.storages)
            broken = world.laws.broken
        finally:
            scheduler.end()
    killed = sum(process.doom is not None and not process.alive for process in world.processes)
    ends = Counter(f"{t.state} {t.consistency}" for run in world.journal.runs.values() for t in run.targets)
    burnt = sum(by == "fuse" for guest in world.guests.values() for by, _ in guest.thaws)
    return History(seed, broken, ends, killed, burnt, tuple(trace or ()))


@contextmanager
def of_the_simulation(scheduler: Scheduler) -> Iterator[None]:
    """Give to each simulated process what the product has once in a process, and chance from the seed alone."""
    in_hand = InHandOfEach(scheduler)
    with (
        patch("orchestrator.recorder.os", RunIds(scheduler.chance)),
        patch("orchestrator.service.in_hand", in_hand),
        patch("orchestrator.recovery.in_hand", in_hand),
    ):
        yield


class InHandOfEach:
    """Stands in for `recovery.in_hand`: what a dead process had in hand is in nobody's."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._of: defaultdict[int, InHand] = defaultdict(InHand)

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._mine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine, name)

    @property
    def _mine(self) -> InHand:
        return self._of[self._scheduler.process.number]


class RunIds:
    """Stands in for the system's source of chance."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def urandom(self, count: int) -> bytes:
        return self._chance.randbytes(count)


def let_happen(world: World, what: str) -> None:
    """Go on until nothing is left to do, or a law is broken."""
    ended = world.scheduler.run(lambda: world.laws.broken is not None)
    world.laws.check(ended, f"{what} never ended")
