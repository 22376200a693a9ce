"""The feed of events, for any number of listeners: one thread reads it, and tells them all."""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import JournalError
from orchestrator.model import Position, Run, Step, Target
from orchestrator.ports import Events

#: Seconds between two looks at what other processes have written.
_LOOK = 0.5
#: Events that are read at once.
MOST = 100
#: Listeners at once.
LISTENERS = 64


class Listener:
    """Somebody who waits for events, on the event loop of the server."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Let it look again. From any thread."""
        with suppress(RuntimeError):  # the server has just ended
            self._loop.call_soon_threadsafe(self._news.set)

    async def wait(self, seconds: float) -> bool:
        """Wait for news so many seconds at most; say whether there are any."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True


class Feed:
    """Wakes its listeners when something was written, by whatever process."""

    def __init__(self, events: Events, clock: Clock) -> None:
        self.events, self._clock = events, clock
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._woken = threading.Event()
        self._watching = False

    def witness(self, run: Run, target: Target | None, steps: Sequence[Step]) -> None:
        """Look now: this process has written something. See `ports.Witness`."""
        self._woken.set()

    def add(self, listener: Listener) -> bool:
        """Tell this listener from now on, unless there are too many."""
        with self._lock:
            if len(self._listeners) >= LISTENERS:
                return False
            self._listeners.add(listener)
            if not self._watching:
                self._watching = True
                self._clock.start("events", self._watch)
            return True

    def remove(self, listener: Listener) -> None:
        """Tell this listener no more."""
        with self._lock:
            self._listeners.discard(listener)

    def _watch(self) -> None:
        """Look again and again while anybody listens."""
        position: Position | None = None
        while True:
            with self._lock:
                self._watching = bool(self._listeners)
                if not self._watching:
                    return
            try:
                newest = self.events.newest()
            except JournalError:  # it is looked at again
                newest = position or Position(0, 0)
            if newest != position:
                position = newest
                with self._lock:
                    for listener in self._listeners:
                        listener.wake()
            self._clock.wait(self._woken, Deadline.after(self._clock, _LOOK))
            self._woken.clear()
