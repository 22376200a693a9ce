"""A clock that stands still until somebody sleeps on it."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from orchestrator.clock import Deadline

_START = datetime(2026, 1, 1, tzinfo=UTC)


class SteppedClock:
    """Time passes only by `sleep`, `wait` and `step`, and at once. For one thread."""

    def __init__(self) -> None:
        self._seconds = 0.0
        #: How long each sleep was, in seconds.
        self.slept: list[float] = []

    def step(self, seconds: float) -> None:
        """Let time pass."""
        self._seconds += seconds

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._seconds)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.step(seconds)

    def wait(self, event: threading.Event, deadline: Deadline) -> bool:
        if not event.is_set():
            self.step(deadline.remaining())
        return event.is_set()

    def start(self, name: str, work: Callable[[], None]) -> None:
        work()
