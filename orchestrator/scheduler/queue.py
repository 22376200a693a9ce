"""Runs that are due, in the order in which they came: one at a time for each job, and for each machine."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.model import Job


@dataclass(frozen=True)
class Due:
    """A run that is to begin."""

    job: Job
    #: The time of the job's schedule that it is for.
    at: datetime
    #: Its machines, without those that are paused.
    machines: frozenset[str]


class Queue:
    """Begins each run when no other one of this process works on any of its machines.

    Fair: a run waits for those before it that want one of its machines, and never for others.
    """

    def __init__(self, clock: Clock, run: Callable[[Due, Stop], None]) -> None:
        """`run` carries a run out, on a thread of its own; what it raises is lost."""
        self._clock, self._run = clock, run
        self._lock = threading.Lock()
        self._waiting: list[Due] = []
        self._running: dict[str, tuple[Due, Task[None]]] = {}
        self._stop = Stop()
        self._closed = False

    def __contains__(self, job: str) -> bool:
        with self._lock:
            return job in self._running or any(due.job.name == job for due in self._waiting)

    def lengths(self) -> tuple[int, int]:
        """How many runs wait, and how many are at work."""
        with self._lock:
            return len(self._waiting), len(self._running)

    def put(self, due: Due) -> None:
        """Let a run begin as soon as it can. Its job has none waiting or running."""
        with self._lock:
            self._waiting.append(due)
            self._admit()

    def close(self, patience: Deadline) -> None:
        """Begin nothing any more, and return when all that runs has ended. After `patience` it is asked to."""
        with self._lock:
            self._closed = True
            running = [task for _, task in self._running.values()]
        for task in running:
            task.wait(patience)
        self._stop.request()
        for task in running:
            task.join()

    def _admit(self) -> None:
        """Begin all that can. The lock is held."""
        taken = {machine for due, _ in self._running.values() for machine in due.machines}
        for due in list(self._waiting):
            if not self._closed and not due.machines & taken:
                self._waiting.remove(due)
                task = Task(self._clock, f"run {due.job.name}", partial(self._carry_out, due))
                self._running[due.job.name] = due, task
            taken |= due.machines

    def _carry_out(self, due: Due) -> None:
        try:
            self._run(due, self._stop)
        finally:
            with self._lock:
                del self._running[due.job.name]
                self._admit()
