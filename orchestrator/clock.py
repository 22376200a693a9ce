"""Time, and waiting for it: the one seam through which the product blocks, so that tests can own time.

Durations and deadlines are on the monotonic clock, which no administrator and no NTP step can move. Wall-clock
times are for people and are always in UTC.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Where time comes from and how a thread waits."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary start, never going backwards."""
        ...

    def now(self) -> datetime:
        """The wall-clock time, in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Block this thread for `seconds`."""
        ...

    def wait(self, event: threading.Event, deadline: "Deadline") -> bool:
        """Block until `event` is set or `deadline` has passed; say whether it is set."""
        ...

    def start(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` on a thread of its own, which does not keep the process alive."""
        ...


class SystemClock:
    """The machine's own clock and threads."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def wait(self, event: threading.Event, deadline: "Deadline") -> bool:
        return event.wait(deadline.remaining())

    def start(self, name: str, work: Callable[[], None]) -> None:
        threading.Thread(target=work, name=name, daemon=True).start()


@dataclass(frozen=True)
class Deadline:
    """A point in monotonic time after which nobody waits any longer."""

    clock: Clock
    #: Seconds on the clock's monotonic scale.
    at: float

    @classmethod
    def after(cls, clock: Clock, seconds: float) -> "Deadline":
        """The deadline `seconds` from now."""
        return cls(clock, clock.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - self.clock.monotonic())

    @property
    def passed(self) -> bool:
        return self.clock.monotonic() >= self.at

    def within(self, seconds: float) -> "Deadline":
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(self.clock, min(self.at, self.clock.monotonic() + seconds))


class Task(Generic[T]):
    """One piece of work on a thread of its own, for calls that cannot be cancelled.

    The caller waits for it as long as it likes and may leave it behind; the work then goes on until it ends by
    itself. What it returned or raised stays available in `result`.
    """

    def __init__(self, clock: Clock, name: str, work: Callable[[], T]) -> None:
        self._clock = clock
        self._work = work
        self._value: T
        self._error: BaseException | None = None
        self._ended = threading.Event()
        clock.start(name, self._run)

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that asks for the result
            self._error = error
        finally:
            self._ended.set()

    def wait(self, deadline: Deadline) -> bool:
        """Wait for the end of the work until `deadline`; say whether it has ended."""
        return self._clock.wait(self._ended, deadline)

    def join(self) -> None:
        """Wait for the end of the work, however long it takes."""
        while not self.wait(Deadline.after(self._clock, 3600)):
            pass

    @property
    def error(self) -> BaseException | None:
        """What the work raised, if it has ended so."""
        return self._error

    def result(self) -> T:
        """What the work returned. Call it only after `wait` said True. Raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._value


class Stop:
    """A request to end, made by the user or by the service's shutdown, and heard by whoever waits."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requested = False
        self._listeners: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        return self._requested

    def request(self) -> None:
        """Ask everybody to end. Not to be called from a signal handler: it takes a lock."""
        with self._lock:  # till the last is called: what a listener uses may be gone when its `with` is left
            self._requested = True
            for listener in self._listeners:
                listener()

    @contextmanager
    def calling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Within the `with`, call `listener` when the request is made, or at once when it was made already.

        Afterwards it is not called any more. It must not wait for anybody.
        """
        with self._lock:
            self._listeners.append(listener)
        try:
            if self._requested:
                listener()
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)


class Bell:
    """Something that may be asked for again and again, by one who does not wait for it."""

    def __init__(self) -> None:
        self._rung = threading.Event()
        self._listener: Callable[[], None] = lambda: None

    def ring(self) -> None:
        """Ask once more."""
        self._rung.set()
        self._listener()

    def answered(self) -> bool:
        """Whether it was rung since this was called last."""
        rung = self._rung.is_set()
        self._rung.clear()
        return rung

    def calling(self, listener: Callable[[], None]) -> None:
        """Call `listener` at each ring from now on, and once for those before."""
        self._listener = listener
        if self._rung.is_set():
            listener()
