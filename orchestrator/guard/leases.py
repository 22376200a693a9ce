"""The orchestrator's end: `ports.Guard` over one guard process, which is started when it is first needed."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import NoGuard
from orchestrator.guard import record
from orchestrator.guard.process import Command, Gone, Process, commands
from orchestrator.guard.record import Record
from orchestrator.guard.wire import Arm, Expect, Key, Release, Within
from orchestrator.model import Machine, Step

#: Seconds for the guard to answer; also when it must be started first, on a busy host.
_PATIENCE = 10.0
#: Seconds for which recovery lets a guard finish what it is about.
_GUARD_AT_WORK = 60.0


class ProcessGuard:
    """`ports.Guard`. One instance, with one guard process, serves all runs and threads of an orchestrator.

    A guard that has died is noticed when the next machine is armed: then it is started again, and armed for everything
    that the last one was.
    """

    def __init__(self, folder: Path, clock: Clock, commands: Callable[[], Sequence[Command]] = commands) -> None:
        """`folder` keeps the records, for this process and for recovery after it. `commands` start a guard: they are
        tried one after the other.
        """
        self._folder, self._clock, self._commands = folder.absolute(), clock, commands
        #: One machine is armed at a time, so that the next answer is the answer to it.
        self._turn = threading.Lock()
        #: Held for moments only, for nobody in a window may wait: what is armed, and the process that was told so.
        self._lock = threading.Lock()
        self._leases: dict[Key, _Lease] = {}
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the guard; None when none was needed yet."""
        return None if self._process is None else self._process.pid

    def prepare(self, machines: Sequence[Machine]) -> None:
        """See `ports.Guard`."""
        if not self._turn.acquire(blocking=False):
            return  # it is being used
        try:
            with suppress(Gone), self._lock:  # which whoever arms is told
                if self._process is None:
                    self._process = Process(self._commands()[0])
                for machine in machines:
                    self._process.tell(Expect(machine))
        finally:
            self._turn.release()

    def arm(self, run_id: str, machine: Machine) -> "_Lease":
        """See `ports.Guard`."""
        path = record.path(self._folder, run_id, machine.name)
        lease = _Lease(self, self._clock, Arm(run_id, machine, str(path)))
        try:
            record.create(path)
        except OSError as error:
            raise NoGuard(f"the guard's records cannot be kept in {self._folder}: {error.strerror}") from error
        try:
            with self._turn:
                self._arm(lease)
        except BaseException:
            lease.release()
            raise
        return lease

    @contextmanager
    def record(self, run_id: str, machine: str) -> Iterator["_Left"]:
        """See `ports.Guard`."""
        try:
            found = Record(record.path(self._folder, run_id, machine))
        except OSError:
            yield _Left(self, (run_id, machine), None)
            return
        with closing(found):
            found.lock(Deadline.after(self._clock, _GUARD_AT_WORK))
            yield _Left(self, (run_id, machine), found)

    def close(self) -> None:
        """Leave the guard, as the end of this process does: what is armed it thaws, and then it ends."""
        with self._turn, self._lock:
            if self._process is not None:
                self._process.close()
            self._process = None

    def _arm(self, lease: "_Lease") -> None:
        """Afterwards the guard has answered that it is armed. Raises NoGuard."""
        with self._lock:
            self._leases[lease.arm.key] = lease
        why: Gone | None = None
        for start in (self._tell_running, *(self._starter(command) for command in self._commands())):
            try:
                process = start(lease)
                self._wait_armed(process, lease)
                return
            except Gone as gone:
                why = gone
        raise NoGuard(f"there is no guard: {why}") from why

    def _tell_running(self, lease: "_Lease") -> Process:
        process = self._process
        if process is None:
            raise Gone("it was not started")
        process.tell(lease.arm)
        return process

    def _starter(self, command: Command) -> "Callable[[_Lease], Process]":
        def start(_: "_Lease") -> Process:
            if self._process is not None:  # it has ended, or is of no use
                self._process.kill()
                self._process.close()
            process = Process(command)
            with self._lock:
                self._process = process
                # Whatever the last one was told, in the same order; nobody can say anything in between.
                for lease in self._leases.values():
                    process.tell(lease.arm)
                    if lease.last is not None:
                        process.tell(lease.last)
            return process

        return start

    def _wait_armed(self, process: Process, lease: "_Lease") -> None:
        deadline = Deadline.after(self._clock, _PATIENCE)
        while True:
            answer = process.hear(deadline)
            if answer.key == lease.arm.key:
                break
        if answer.error is not None:
            raise NoGuard(f"the guard cannot reach the machine: {answer.error}")

    def tell(self, lease: "_Lease", message: Within | Release) -> None:
        """Pass on what a lease says. Never raises, never waits. A guard that does not take it is none: it is ended."""
        with self._lock:
            if isinstance(message, Release):
                self._leases.pop(lease.arm.key, None)
            else:
                lease.last = message
            if self._process is not None:
                try:
                    self._process.tell(message)
                except Gone:
                    self._process.kill()

    def forget(self, key: Key) -> None:
        """Release what this process itself still has armed, if it has."""
        with self._lock:
            lease = self._leases.get(key)
        if lease is not None:
            lease.release()


class _Lease:
    """`ports.Lease`."""

    def __init__(self, guard: ProcessGuard, clock: Clock, arm: Arm) -> None:
        self._guard, self._clock, self.arm = guard, clock, arm
        #: What was said of it last, for a guard that takes over.
        self.last: Within | None = None

    def within(self, seconds: float | None, *, answered: bool = False) -> None:
        """See `ports.Lease`."""
        at = None if seconds is None else self._clock.monotonic() + seconds
        self._guard.tell(self, Within(self.arm.key, at, answered))

    def release(self) -> None:
        """See `ports.Lease`."""
        # The record goes first: without it, a guard does nothing, also when we end between the two.
        with suppress(OSError):
            Path(self.arm.record).unlink()
        self._guard.tell(self, Release(self.arm.key))


class _Left:
    """`ports.Record`."""

    def __init__(self, guard: ProcessGuard, key: Key, found: Record | None) -> None:
        self._guard, self._key, self._found = guard, key, found
        self.steps: tuple[Step, ...] = ()
        if found is not None:
            with suppress(OSError):
                self.steps = found.read(key[1])

    def dismiss(self) -> None:
        """See `ports.Record`."""
        if self._found is not None:
            self._found.dismiss()

    def remove(self) -> None:
        """See `ports.Record`."""
        if self._found is not None:
            self._found.remove()
        self._guard.forget(self._key)
