"""Virtual time, and the processes and activities that live in it.

An activity is what a thread is in the real world: product code that runs until it blocks on the clock or crosses a
seam. Then the scheduler picks the next one at random among those that could run. It is a greenlet, so nothing runs
beside it, nothing depends on the machine's speed, and the same seed goes the same way again.

A process may be killed at every such point: its activities are never continued, as after SIGKILL no `finally` runs.
It may also hang, as after SIGSTOP: it is alive, owns its runs, and does nothing.
"""

import heapq
import itertools
import math
from collections.abc import Callable
from contextlib import suppress
from random import Random

from greenlet import getcurrent, greenlet

#: The longest history, in virtual seconds. What has not ended by then never does.
END_OF_TIME = 20_000.0


class Killed(BaseException):
    """Unwinds the activities of a dead process when its history is over. No product code may catch it for good."""


class Process:
    """One program: alive until it is killed, or has done its work and exits."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.number = name, number
        self.began = 0.0
        #: It is an operator's `thaw --force`: whoever froze.
        self.forces = False
        self.alive = True
        #: When that was.
        self.died = math.inf
        self.hangs = False
        #: It ended at its doom, and not because it had nothing left to do.
        self.doomed = False
        #: It serves others: the history does not go on for its sake.
        self.serves = False
        #: How many points it has passed at which it could have been killed.
        self.crossings = 0
        #: The crossing at which it is killed, or hangs; None: it is let live.
        self.doom: int | None = None
        #: For how many seconds it hangs at its doom before it is killed.
        self.agony = 0.0
        #: What the world does when it has died, e.g. close its connections.
        self.heirs: list[Callable[[], None]] = []

    @property
    def sound(self) -> bool:
        """Neither dead nor hanging."""
        return self.alive and not self.hangs


class Activity:
    """One thread of one process."""

    __slots__ = ("due", "greenlet", "name", "process", "ready")

    def __init__(self, process: Process, name: str, thread: greenlet) -> None:
        self.process, self.name, self.greenlet = process, name, thread
        self.due = 0.0
        self.ready: Callable[[], bool] | None = None


class Scheduler:
    """Runs the activities of all processes, one at a time, in virtual time."""

    def __init__(self, chance: Random, trace: list[str] | None = None) -> None:
        self.now = 0.0
        self.chance = chance
        #: Everything that happened, when somebody wants to read it.
        self.trace = trace
        self._hub = getcurrent()
        self._current: Activity | None = None
        self._waiting: list[Activity] = []
        self._dead: list[Activity] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._over = False

    def tell(self, what: str) -> None:
        """Add a line to the trace."""
        if self.trace is not None and not self._over:
            who = f"{self._current.process.name}/{self._current.name}" if self._current else "world"
            self.trace.append(f"{self.now:10.4f}  {who:40}  {what}")

    # What the world does

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something in the world at a time, whoever lives then."""
        heapq.heappush(self._timers, (max(when, self.now), next(self._numbers), action))

    def spawn(self, process: Process, name: str, work: Callable[[], None], when: float = 0.0) -> None:
        """Let a process begin another activity."""
        activity = Activity(process, name, greenlet(work, self._hub))
        activity.due = max(when, self.now)
        self._waiting.append(activity)

    def kill(self, process: Process) -> None:
        """End a process as SIGKILL does, at whatever point it is."""
        if process.alive:
            self.tell(f"SIGKILL {process.name}")
            self.exit(process)

    def exit(self, process: Process) -> None:
        """The process is gone."""
        process.alive, process.died = False, self.now
        self._dead += [activity for activity in self._waiting if activity.process is process]
        self._waiting = [activity for activity in self._waiting if activity.process is not process]
        for heir in process.heirs:
            heir()

    # What an activity does

    def cross(self, what: str) -> None:
        """Cross a seam: the process may die here, and others may run before it goes on."""
        if self._over:
            raise Killed
        if self.trace is not None:
            self.tell(what)
        self._meet_doom()
        luck = self.chance.random()
        self.pause(self.now + (luck * 0.01 if luck < 0.97 else luck * 0.3))

    def hiccup(self) -> None:
        """Look at the clock: now and then the thread loses the processor just there."""
        if self._current is not None and not self._over and self.chance.random() < 0.02:
            self._meet_doom()
            self.pause(self.now + self.chance.random() * 0.02)

    def pause(self, until: float, ready: Callable[[], bool] | None = None) -> None:
        """Block until a time, or until `ready` says so before."""
        activity = self._current
        assert activity is not None, "only an activity can wait"
        if self._over or not activity.process.alive:
            raise Killed
        activity.due, activity.ready = until, ready
        self._waiting.append(activity)
        self._hub.switch()

    @property
    def process(self) -> Process:
        """The process that runs now."""
        assert self._current is not None
        return self._current.process

    @property
    def thread(self) -> object:
        """The activity that runs now."""
        return self._current

    def _meet_doom(self) -> None:
        assert self._current is not None
        process = self._current.process
        process.crossings += 1
        if process.crossings != process.doom or not process.alive:
            return
        process.doomed = True
        if process.agony:
            self.tell(f"SIGSTOP {process.name}")
            process.hangs = True
            self.at(self.now + process.agony, lambda: self.kill(process))
            self.pause(self.now)
        else:
            self._dead.append(self._current)
            self.kill(process)
            self._hub.switch()

    # The loop

    def run(self, broken: Callable[[], bool]) -> bool:
        """Go on until nothing is left to do or `broken`; say whether everything came to its end in time."""
        while not broken():
            able = [activity for activity in self._waiting if self._can_run(activity)]
            if able:
                self._resume(able[int(self.chance.random() * len(able))])
            elif not self._pass_time():
                return True
            if self.now > END_OF_TIME:
                return False
        return True

    def end(self) -> None:
        """Unwind what is left of the activities; nothing of it reaches the world."""
        self._over = True
        for activity in (*self._dead, *self._waiting):
            self._current = activity
            with suppress(Killed):
                activity.greenlet.throw(Killed)
        self._current = None

    def _can_run(self, activity: Activity) -> bool:
        if activity.due > self.now and (activity.ready is None or not activity.ready()):
            return False
        return activity.process.sound

    def _resume(self, activity: Activity) -> None:
        self._waiting.remove(activity)
        self._current = activity
        activity.greenlet.switch()
        self._current = None

    def _pass_time(self) -> bool:
        """Go on to the next thing that happens; say whether there is one."""
        sound = [activity for activity in self._waiting if activity.process.sound]
        due = min((activity.due for activity in sound), default=math.inf)
        if self._timers:
            due = min(due, self._timers[0][0])
        elif all(activity.process.serves for activity in sound):
            return False
        if due == math.inf:
            return False
        self.now = max(self.now, due)
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()
        return True
