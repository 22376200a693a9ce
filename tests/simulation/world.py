"""One world, drawn from a seed: guests with their storage, jobs that overlap, a journal, and strangers.

It is what every process finds, and what outlives every process. A process gets its own way to all of it: `service`
wires the product as `orchestrator.main` does, with the simulation behind each seam.
"""

from collections.abc import Sequence
from random import Random

from orchestrator.model import Job, Machine, Owner, PreFlush, Quiesce
from orchestrator.policy import shortest_fuse
from orchestrator.ports import Agent, Driver, Hypervisor
from orchestrator.service import Service
from tests.fakes.journal import MemoryJournal
from tests.simulation.channel import SimAgent
from tests.simulation.clock import SimClock
from tests.simulation.guard import Guards, SimGuard
from tests.simulation.guest import LIBVIRT, SOCKET, STRANGER, Channel, Guest, Order
from tests.simulation.host import Host
from tests.simulation.journal import SimJournal
from tests.simulation.laws import Laws
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.storage import CopyingSimDriver, SimDriver, Storage
from tests.simulation.weather import Weather

#: Seconds until the weather clears.
STORM = 100.0


class World:
    """What is there, whatever process looks at it."""

    def __init__(self, chance: Random, scheduler: Scheduler, weather: Weather) -> None:
        self.scheduler, self.chance, self.weather = scheduler, chance, weather
        self.journal = MemoryJournal(WorldClock(scheduler, Process("world", 0)))
        self.guards = Guards(scheduler, self.process, self.agent)
        self.host = Host(scheduler, self.weather, self.guards.start, lambda machine: self.guests[machine].excuse())
        self.laws = Laws(self.journal, self.guards, scheduler)
        self.processes: list[Process] = []
        self.guests = {guest.name: guest for guest in self.draw_guests()}
        self.laws.guests = self.guests
        self.storages = {name: Storage(guest, scheduler) for name, guest in self.guests.items()}
        self.machines = {name: Machine(name, agent=f"/run/{name}.sock") for name in self.guests}
        self.jobs = {job.name: job for job in self.draw_jobs()}
        self._plan_disasters()

    def process(self, name: str) -> Process:
        """A new process, which may be doomed."""
        process = Process(f"{name}{len(self.processes) + 1}", len(self.processes) + 1)
        self.processes.append(process)
        if self.chance.random() < self.weather.doom:
            self.weather.doomed(process, 30 if name == "guard" else 150)  # a guard has little to do
        return process

    def service(self, process: Process) -> Service:
        """The product, as that process has it."""
        clock = SimClock(self.scheduler, process)
        return Service(
            machines=self.machines,
            jobs=self.jobs,
            journal=SimJournal(self.journal, process, self.scheduler, self.weather, self.laws),
            connections=Connections(self, process),
            examine=lambda machine, run_id, verify: {},
            guard=SimGuard(self.host.folder, clock, self.guards.stuck),
            clock=clock,
            owner=Owner("host", "boot", process.number, 1),
            is_gone=lambda owner: owner.pid == 0 or not self.processes[owner.pid - 1].alive,
        )

    def agent(self, process: Process, machine: Machine) -> Agent:
        """A client of a machine's agent, as that process has it."""
        return SimAgent(self.guests[machine.name], process, self.scheduler, self.weather, self.laws)

    def clear(self) -> None:
        """The weather clears: nothing goes wrong any more, and every agent that is not lost obeys."""
        self.scheduler.tell("the weather clears")
        self.weather.clear()
        for guest in self.guests.values():
            guest.go_on()

    def draw_guests(self) -> list[Guest]:
        """The machines that there are."""
        return [
            self.guest(name, mounts, self.chance.choice([SOCKET, LIBVIRT]))
            for name in ["vm1", "vm2", "vm3"][: self.chance.randint(1, 3)]
            for mounts in [["/", "/data", "/var"][: self.chance.randint(1, 3)]]
        ]

    def draw_jobs(self) -> list[Job]:
        """What is configured."""
        return [self._job(name) for name in ["nightly", "hourly"][: self.chance.randint(1, 2)]]

    def guest(self, name: str, mounts: Sequence[str], channel: Channel) -> Guest:
        """One machine."""
        guest = Guest(name, mounts, channel, self.scheduler, self.weather)
        guest.on_foreign_thaw = lambda since: self.laws.foreign_thawed(guest, since)
        return guest

    def _job(self, name: str) -> Job:
        chance = self.chance
        machines = chance.sample(list(self.guests), chance.randint(1, len(self.guests)))
        freeze_timeout, hold_limit = chance.choice([1.0, 5.0, 30.0]), chance.choice([0.5, 2.0, 5.0])
        return Job(
            name,
            tuple(machines),
            driver="simulated" if name == "nightly" else "simulated-copy",
            quiesce=chance.choice([Quiesce.REQUIRED, Quiesce.REQUIRED, Quiesce.PREFERRED, Quiesce.OFF]),
            mountpoints=chance.choice([(), (), ("/",)]),
            group=chance.random() < 0.4,
            freeze_timeout=freeze_timeout,
            hold_limit=hold_limit,
            # The last one is shorter than the settings allow, so that it burns in a window.
            fuse=chance.choice([None, shortest_fuse(freeze_timeout, hold_limit), 1.0]),
            thaw_timeout=chance.choice([5.0, 20.0, 60.0]),
            pre_flush=chance.choice([PreFlush.OFF, PreFlush.SYNC]),
        )

    def _plan_disasters(self) -> None:
        """What happens to the world whatever our processes do."""
        at, luck = self.scheduler.at, self.chance.random
        for _ in range(self.weather.outages):
            begin = luck() * STORM * 0.6
            at(begin, lambda: self._journal_goes(True))
            at(begin + luck() ** 2 * 80, lambda: self._journal_goes(False))
        for guest in self.guests.values():
            if luck() < self.weather.loss:
                at(luck() * STORM * 0.6, guest.lose)
            if luck() < self.weather.strangers:
                begin = luck() * STORM * 0.6
                at(begin, lambda guest=guest: _order(guest, "freeze"))  # type: ignore[misc]
                at(begin + luck() * 20, lambda guest=guest: _order(guest, "thaw"))  # type: ignore[misc]

    def _journal_goes(self, away: bool) -> None:
        self.scheduler.tell(f"the journal is {'away' if away else 'back'}")
        self.weather.journal_is_away = away


class Connections:
    """`ports.Connections` of one process."""

    def __init__(self, world: World, process: Process) -> None:
        self._world, self._process = world, process

    def agent(self, machine: Machine) -> Agent:
        return self._world.agent(self._process, machine)

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        return None

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        world, storage = self._world, self._world.storages[machine.name]
        around = (self._process, world.scheduler, world.weather, world.laws)
        made = CopyingSimDriver if job.driver == "simulated-copy" else SimDriver
        return made(run_id, job.mountpoints, storage, *around)


class WorldClock(SimClock):
    """The clock of what is no process."""

    def monotonic(self) -> float:
        return self._scheduler.now


def _order(guest: Guest, command: str) -> None:
    """A stranger tells the agent to freeze or to thaw."""
    obey = {"freeze": lambda: guest.freeze((), STRANGER), "thaw": lambda: guest.thaw(STRANGER)}
    guest.accept(Order(command, obey[command]))
