"""The product's seam to time, bound to the simulation's."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from orchestrator.clock import Deadline
from tests.simulation.scheduler import Process, Scheduler

_START = datetime(2026, 1, 1, tzinfo=UTC)


class SimClock:
    """`orchestrator.clock.Clock` for one process of the simulation."""

    def __init__(self, scheduler: Scheduler, process: Process) -> None:
        self._scheduler, self._process = scheduler, process

    def monotonic(self) -> float:
        self._scheduler.hiccup()
        return self._scheduler.now

    def now(self) -> datetime:
        return wall(self._scheduler)

    def sleep(self, seconds: float) -> None:
        self._scheduler.cross(f"sleep {seconds:.3g}")
        self._scheduler.pause(self._scheduler.now + seconds)

    def wait(self, event: threading.Event, deadline: Deadline) -> bool:
        self._scheduler.cross("wait")
        if not event.is_set():
            self._scheduler.pause(deadline.at, event.is_set)
        return event.is_set()

    def start(self, name: str, work: Callable[[], None]) -> None:
        self._scheduler.cross(f"start {name}")
        self._scheduler.spawn(self._process, name, work)


def wall(scheduler: Scheduler) -> datetime:
    """The wall-clock time of the simulation."""
    return _START + timedelta(seconds=scheduler.now)
