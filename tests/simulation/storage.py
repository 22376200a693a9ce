"""The storage of one machine, and the product's seam to it: `ports.Driver`.

What is begun on the storage goes on when its caller has given up or died, as libvirtd goes on. While it works on a cut
it can tell nobody what became of it, and removes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator import model
from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown, Rejected, Unreachable
from orchestrator.model import Progress
from orchestrator.ports import Plan
from tests.simulation.guest import Guest
from tests.simulation.laws import Laws
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Fault, Weather


@dataclass(frozen=True)
class Cut:
    """A point in time that the storage keeps."""

    began: float
    at: float
    #: Every file system that the job freezes was frozen from the beginning of the cut to its end.
    quiesced: bool


class Storage:
    """What exists outside of every process."""

    def __init__(self, guest: Guest, scheduler: Scheduler) -> None:
        self.name, self.guest, self._scheduler = guest.name, guest, scheduler
        self.prepared: set[str] = set()
        self.cuts: dict[str, Cut] = {}
        #: The points in time that are being copied, each with when all of it will be. They do not count as cuts.
        self.copies: dict[str, tuple[Cut, float]] = {}
        #: How many operations are being worked on.
        self._working = 0

    def idle(self) -> bool:
        """Whether it can answer questions."""
        return not self._working

    def cut(
        self, name: str, mountpoints: Sequence[str], began: float, seconds: float, copying: float | None = None
    ) -> "Operation":
        """Begin a cut that ends in some seconds. What it only begins to copy takes `copying` seconds from then on."""
        operation = Operation()
        self._working += 1

        def end() -> None:
            self._working -= 1
            if name in self.prepared:
                self.prepared.remove(name)
                since = self.guest.frozen_since(mountpoints)
                quiesced = since is not None and since <= began
                cut = Cut(began, self._scheduler.now, quiesced)
                if copying is None:
                    self.cuts[name] = cut
                else:
                    self.copies[name] = cut, self._scheduler.now + copying
                self._scheduler.tell(f"{self.guest.name}: cut {name}, {'quiesced' if quiesced else 'NOT quiesced'}")
            else:
                operation.error = Rejected(f"nothing is prepared for {name}")
            operation.ended = True

        self._scheduler.at(self._scheduler.now + seconds, end)
        return operation


class Operation:
    """Something that the storage works on."""

    def __init__(self) -> None:
        self.ended = False
        self.error: CallError | None = None


class SimDriver:
    """Cuts of one run into one storage."""

    #: The most seconds for which a cut is copied; None: it is made at once.
    copying: float | None = None

    def __init__(
        self,
        run_id: str,
        mountpoints: Sequence[str],
        storage: Storage,
        process: Process,
        scheduler: Scheduler,
        weather: Weather,
        laws: Laws,
    ) -> None:
        self._run_id, self._mountpoints, self._storage, self._process = run_id, mountpoints, storage, process
        self._scheduler, self._weather, self._laws, self._chance = scheduler, weather, laws, scheduler.chance
        self._machine = storage.guest.name

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        self._enter("plan")
        return {"name": snapshot}

    def prepare(self, plan: Plan, deadline: Deadline) -> None:
        self._laws.prepare_begins(self._run_id, self._machine)
        self._enter("prepare")
        self._storage.prepared.add(plan["name"])
        self._leave("prepare")

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, str]:
        self._laws.cut_begins(self._process, self._run_id, self._machine)
        began = self._scheduler.now
        self._enter("cut")
        operation = self._begin_cut(plan["name"], began, deadline)
        patience = deadline.at + 120 if self._weather.strikes(Fault.DRIVER_HANGS) else deadline.at
        self._scheduler.pause(patience, lambda: operation.ended)
        if not operation.ended:
            raise OutcomeUnknown("cut: no answer in time")
        if operation.error is not None:
            raise operation.error
        self._leave("cut")
        return {"stored": plan["name"]}

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, str] | None:
        self._enter("happened")
        self._wait_until_idle(deadline)
        return {"stored": plan["name"]} if plan["name"] in self._storage.cuts else None

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        self._laws.discard_begins(self._run_id, self._machine)
        self._enter("discard")
        self._wait_until_idle(deadline)
        if plan["name"] in self._storage.cuts:
            raise Rejected("the machine stands on it: nothing was removed")
        self._storage.prepared.discard(plan["name"])
        self._leave("discard")

    def close(self) -> None:
        pass

    def _begin_cut(self, name: str, began: float, deadline: Deadline) -> Operation:
        """Hand the cut over; it may lie somewhere until nobody waits for it any longer."""
        luck = self._chance.random()
        copying = self.copying and luck * self.copying

        def cut(seconds: float) -> Operation:
            return self._storage.cut(name, self._mountpoints, began, seconds, copying)

        if self._weather.strikes(Fault.DRIVER_HANGS):
            return cut(1 + luck * 60)
        if not self._weather.strikes(Fault.DRIVER_LATE):
            return cut(luck * 0.1)
        self._scheduler.at(self._scheduler.now + luck * 40, lambda: void(cut(luck)))
        return Operation()

    def _wait_until_idle(self, deadline: Deadline) -> None:
        if not self._storage.idle():
            self._scheduler.pause(deadline.at, self._storage.idle)
            if not self._storage.idle():
                raise OutcomeUnknown("the machine is busy with another operation")

    def _enter(self, method: str) -> None:
        self._scheduler.cross(f"{self._machine} driver.{method}")
        if self._weather.strikes(Fault.DRIVER_UNREACHABLE):
            raise Unreachable(f"{method}: no connection")
        if self._weather.strikes(Fault.DRIVER_REJECTS):
            raise Rejected(f"{method}: no space left")

    def _leave(self, method: str) -> None:
        self._scheduler.cross(f"{self._machine} driver.{method} done")
        if self._weather.strikes(Fault.DRIVER_LOST):
            raise OutcomeUnknown(f"{method}: the connection broke")


class CopyingSimDriver(SimDriver):
    """Cuts that only begin a copy, which counts when it is published."""

    copying = 10.0

    def copied(self, plan: Plan, deadline: Deadline) -> Progress:
        self._enter("copied")
        if plan["name"] not in self._storage.copies:
            raise Rejected("nobody knows of the copy")
        _, whole_at = self._storage.copies[plan["name"]]
        ended = self._scheduler.now >= whole_at
        self._leave("copied")
        return Progress(100 if ended else 50, 100, ended)

    def publish(self, plan: Plan, cut: model.Cut, deadline: Deadline) -> Mapping[str, str]:
        self._laws.publish_begins(self._process, self._run_id, self._machine)
        self._enter("publish")
        copied, whole_at = self._storage.copies.pop(plan["name"])
        self._laws.published(self._machine, cut, copied.quiesced, whole=self._scheduler.now >= whole_at)
        self._storage.cuts[plan["name"]] = copied
        self._leave("publish")
        return {"stored": plan["name"]}

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        super().discard(plan, deadline)
        self._storage.copies.pop(plan["name"], None)


def void(_: object) -> None:
    """Nobody waits for it."""
