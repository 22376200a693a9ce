"""One case of the matrix: a run with one fault, ended at one boundary; a recovery after it, ended at one; the last one.

All of it happens in the simulation's virtual time, with the laws of the simulation checked on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from orchestrator.clock import Stop
from orchestrator.model import Job, PreFlush, Quiesce
from orchestrator.policy import shortest_fuse
from orchestrator.service import Service
from tests.matrix.boundaries import Boundary, Recording, ScriptedWeather, Trouble
from tests.simulation import processes
from tests.simulation.guest import LIBVIRT, SOCKET, Guest
from tests.simulation.history import let_happen, of_the_simulation
from tests.simulation.processes import attempt, begin
from tests.simulation.reckoning import check_answer, check_run
from tests.simulation.scheduler import Process
from tests.simulation.world import World

#: Seconds for which a stopped process is left alone.
_AGONY = 500.0


@dataclass(frozen=True)
class Case:
    """What is tried."""

    #: Two machines at one point in time, one of them behind libvirt; else one, on its agent's socket.
    group: bool = False
    #: The cut only begins a copy, as a backup does.
    copies: bool = False
    #: The guest has a fuse, and nobody recovers before it has burnt.
    fuse: bool = False
    #: What goes wrong beside the kills.
    trouble: Trouble | None = None
    #: The crossing at which the run is ended; None: it is let live.
    end: int | None = None
    #: Its guard is ended in the same moment.
    with_guard: bool = False
    #: It is stopped there (SIGSTOP) and ended only by its guard, or long after.
    hangs: bool = False
    #: The crossing at which the recovery after it is ended; None: that is let live too.
    recovery_end: int | None = None


@dataclass(frozen=True)
class Seen:
    """What came of it."""

    #: The law that was broken, in words.
    broken: str | None
    #: How the run stands in the journal at the end: its state and consistency; None: there is no run.
    ended: str | None
    #: The longest time for which the kernel held a file system frozen, in seconds, and who thawed it; None: never.
    frozen: float | None
    thawed_by: str | None
    #: Which boundaries the run and the first recovery have crossed.
    run: Sequence[Boundary]
    recovery: Sequence[Boundary]
    trace: Sequence[str]


class OneRun(World):
    """One guest with two file systems, and one job over it. Nothing is left to chance but the order of threads."""

    def draw_guests(self) -> list[Guest]:
        return [self.guest("vm1", ["/", "/data"], SOCKET)]

    def draw_jobs(self) -> list[Job]:
        return [
            Job(
                "nightly",
                ("vm1",),
                driver="simulated",
                quiesce=Quiesce.REQUIRED,
                freeze_timeout=5.0,
                hold_limit=2.0,
                thaw_timeout=20.0,
                pre_flush=PreFlush.SYNC,
            )
        ]


class OneGroup(OneRun):
    """A second guest beside it, through libvirt, where a command may lie on its way for 36 s."""

    def draw_guests(self) -> list[Guest]:
        return [*super().draw_guests(), self.guest("vm2", ["/"], LIBVIRT)]

    def draw_jobs(self) -> list[Job]:
        return [replace(job, machines=("vm1", "vm2"), group=True) for job in super().draw_jobs()]


class OneFuse(OneRun):
    """A run with a fuse, the shortest one that its limits allow."""

    def draw_jobs(self) -> list[Job]:
        return [replace(job, fuse=shortest_fuse(job.freeze_timeout, job.hold_limit)) for job in super().draw_jobs()]


class OneCopy(OneRun):
    """A run whose cut only begins a copy."""

    def draw_jobs(self) -> list[Job]:
        return [replace(job, driver="simulated-copy") for job in super().draw_jobs()]


def live(case: Case, *, traced: bool = False) -> Seen:
    """Let the case happen. It is the same each time."""
    chance = Random(1)  # noqa: S311 - it must be the same each time
    scheduler = Recording(chance, [] if traced else None)
    weather = ScriptedWeather(chance, case.trouble)
    weather.scheduler = scheduler
    kind = OneGroup if case.group else OneCopy if case.copies else OneFuse if case.fuse else OneRun
    world = kind(chance, scheduler, weather)
    with of_the_simulation(scheduler), world.host.serving():
        try:
            run = begin(world, command_run)
            run.doom, run.agony = case.end, _AGONY if case.hangs else 0.0
            if case.with_guard:
                run.heirs.append(lambda: _end_guards(world, run))
            let_happen(world, "the run")
            recovery = begin(world, processes.command_recover, scheduler.now)
            recovery.doom = case.recovery_end
            let_happen(world, "the recovery")
            begin(world, processes.last_recovery, scheduler.now)
            let_happen(world, "the last recovery")
            _check_end(world, case)
        finally:
            scheduler.end()
    return _seen(world, run, recovery)


def command_run(world: World, process: Process, service: Service) -> None:
    """`quiesce run nightly`"""

    def run() -> None:
        done = service.run("nightly", stop=Stop())
        check_answer(world.laws, done, world.guests, world.storages)

    attempt(world, run)


def _end_guards(world: World, run: Process) -> None:
    if run.doomed:
        for process in world.processes:
            if process.serves and process.alive:
                process.doomed = True
                world.scheduler.kill(process)


def _check_end(world: World, case: Case) -> None:
    """What must be true of the world when all is over."""
    laws = world.laws
    for run in world.journal.runs.values():
        check_run(laws, run, world.guests, world.storages)
    left = [name for storage in world.storages.values() for name in storage.prepared]
    laws.check(case.trouble is not None or not left, f"left over: {left}")  # else `check_run` asks whether it is told
    laws.check(not world.journal.open_runs(), "a run is open")
    laws.check(not any(guest.frozen for guest in world.guests.values()), "a guest is frozen")


def _seen(world: World, run: Process, recovery: Process) -> Seen:
    scheduler = world.scheduler
    assert isinstance(scheduler, Recording)
    by, seconds = max(world.guests["vm1"].thaws, key=lambda thaw: thaw[1], default=(None, None))
    ends = [f"{run.state} {run.consistency}" for run in world.journal.runs.values()]
    return Seen(
        broken=world.laws.broken,
        ended=ends[0] if ends else None,
        frozen=seconds,
        thawed_by=by and by.rstrip("0123456789"),
        run=scheduler.boundaries.get(run.number, ()),
        recovery=scheduler.boundaries.get(recovery.number, ()),
        trace=scheduler.trace or (),
    )
