"""Runs on demand: whoever asks for one is told its id, and it goes on by itself, in the process of the service."""

import json
import threading
from functools import partial
from queue import SimpleQueue

import structlog

from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.errors import ConfigError, NotFound, Refused
from orchestrator.model import Request, Run, State
from orchestrator.ports import Requests
from orchestrator.recorder import new_id
from orchestrator.service import Service

#: Seconds for which somebody waits until the journal has the run: a guest of its may have to be recovered first.
_OPENED = 30.0
#: So many keys at once are waited for, each by who asks for the same.
_TURNS = 64

log = structlog.get_logger()


class Demand:
    """Begins runs, each on a thread of its own."""

    def __init__(self, service: Service, requests: Requests, clock: Clock, ending: Stop) -> None:
        """Nothing begins when the `ending` was requested."""
        self._service, self._requests, self._clock, self._ending = service, requests, clock, ending
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]
        self._running: dict[str, Task[None]] = {}
        self._stop = Stop()

    def start(self, job: str, machine: str | None, key: str | None = None) -> str:
        """Begin a run of a job, or of one machine of it, and return its id.

        The journal has it then, unless that takes very long. With a `key` it is begun once, for as long as the journal
        has it: whoever asks for the same under that key again is told the same id. Raises NotFound, ConfigError, also
        for a key under which something else was asked for, Refused when the service ends, and JournalError.
        """
        run_id = new_id(self._clock.now())
        if key is None:
            return self._begin(run_id, job, machine)
        wanted = json.dumps([job, machine])
        with self._turns[hash(key) % _TURNS]:  # who asks for the same at the same time is told when it has begun
            claimed = self._requests.claim(Request(key, wanted, run_id, self._clock.now()))
            if claimed.wanted != wanted:
                raise ConfigError("something else was asked for under this key: take a new key for a new run")
            return claimed.run_id if self._has_begun(claimed.run_id) else self._begin(claimed.run_id, job, machine)

    def close(self, patience: Deadline) -> None:
        """Return when all that began has ended. After `patience` it is asked to."""
        with self._lock:
            running = list(self._running.values())
        for task in running:
            task.wait(patience)
        self._stop.request()
        for task in running:
            task.join()

    def _has_begun(self, run_id: str) -> bool:
        try:
            return self._service.show(run_id).id == run_id
        except NotFound:  # whoever asked first died before it began, or was turned away
            return False

    def _begin(self, run_id: str, job: str, machine: str | None) -> str:
        decided, failures = threading.Event(), SimpleQueue[Exception]()
        with self._lock:
            if self._ending.requested:
                raise Refused("the service is ending: it begins nothing any more")
            work = partial(self._carry_out, run_id, job, machine, decided, failures)
            self._running[run_id] = Task(self._clock, f"run {run_id}", work)
        self._clock.wait(decided, Deadline.after(self._clock, _OPENED))
        if not failures.empty() and not self._has_begun(run_id):
            raise failures.get()
        return run_id

    def _carry_out(
        self, run_id: str, job: str, machine: str | None, decided: threading.Event, failures: "SimpleQueue[Exception]"
    ) -> None:
        def opened(run: Run) -> None:
            decided.set()

        try:
            run = self._service.run(job, machine=machine, run_id=run_id, opened=opened, stop=self._stop)
            if run.state is State.DONE and run.job is not None and run.job.retention is not None:
                self._service.prune(job, machine=machine, stop=self._stop)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            log.error("run failed", run=run_id, job=job, error=str(error))
            failures.put(error)
        finally:
            decided.set()
            with self._lock:
                del self._running[run_id]
