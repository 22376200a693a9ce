"""What the processes of the simulation do: each is one command of the product, or its daemon."""

from collections.abc import Callable
from datetime import datetime

from orchestrator.clock import Stop
from orchestrator.errors import JournalUnavailable, QuiesceError, StuckUnjournaled, Superseded
from orchestrator.service import Service
from tests.simulation.clock import wall
from tests.simulation.reckoning import check_answer
from tests.simulation.scheduler import Process
from tests.simulation.world import STORM, World

#: Seconds between two sweeps of the daemon, as in `orchestrator.scheduler`.
_RECOVERY_EVERY = 60.0


def populate(world: World) -> None:
    """Let processes begin at random times, so that they meet."""
    chance = world.chance
    kinds = [command_run, command_run, command_run, daemon, command_recover, command_thaw]
    for kind in chance.choices(kinds, k=chance.randint(1, 6)):
        begin(world, kind, chance.random() * STORM * 0.5)


Program = Callable[[World, Process, Service], None]


def begin(world: World, program: Program, when: float = 0.0) -> Process:
    """A new process that runs a program and exits, unless it is killed before."""
    process = world.process(program.__name__.removeprefix("command_"))
    process.began = max(when, world.scheduler.now)

    def main() -> None:
        program(world, process, world.service(process))
        if program is not daemon:
            world.scheduler.exit(process)

    world.scheduler.spawn(process, "main", main, when)
    return process


def command_run(world: World, process: Process, service: Service) -> None:
    """`quiesce run`, which its user may stop."""
    stop = Stop()
    if world.chance.random() < 0.2:
        patience = world.chance.random() * 3
        world.scheduler.spawn(process, "user", stop.request, world.scheduler.now + patience)
    _run(world, process, service, None, stop)


def command_recover(world: World, process: Process, service: Service) -> None:
    """`quiesce recover`"""
    attempt(world, lambda: service.recover())


def command_thaw(world: World, process: Process, service: Service) -> None:
    """`quiesce thaw`, in despair with `--force`."""
    process.forces = world.chance.random() < 0.3
    machine = world.chance.choice(list(world.machines))
    attempt(world, lambda: service.thaw(machine, force=process.forces))


def daemon(world: World, process: Process, service: Service) -> None:
    """`quiesce serve`: it runs jobs on threads of its own, sweeps now and then, and lives on."""
    scheduler = world.scheduler
    attempt(world, lambda: service.recover())
    for _ in range(world.chance.randint(1, 3)):
        when = scheduler.now + world.chance.random() * STORM * 0.5
        scheduler.spawn(process, "job", lambda: _run(world, process, service, wall(scheduler), Stop()), when)
    while scheduler.now < STORM + 3 * _RECOVERY_EVERY:
        scheduler.pause(scheduler.now + _RECOVERY_EVERY)
        attempt(world, lambda: service.recover())


def last_recovery(world: World, process: Process, service: Service) -> None:
    """The one that is let live, and comes again while something is open."""
    process.doom = None
    for _ in range(3):
        attempt(world, lambda: service.recover())
        if not world.journal.open_runs():
            return
        world.scheduler.pause(world.scheduler.now + _RECOVERY_EVERY)


def _run(world: World, process: Process, service: Service, scheduled_for: datetime | None, stop: Stop) -> None:
    job = world.chance.choice(list(world.jobs.values()))
    machine = world.chance.choice([None, None, *job.machines])

    def run() -> None:
        world.laws.opened.pop(world.scheduler.thread, None)
        done = service.run(job.name, machine=machine, scheduled_for=scheduled_for, stop=stop)
        world.scheduler.tell(f"answered: {done.state} {done.consistency} {done.error}")
        check_answer(world.laws, done, world.guests, world.storages)

    attempt(world, run)


def attempt(world: World, work: Callable[[], object]) -> None:
    """Do what may be refused or fail, in words; a defect is a broken law."""
    try:
        work()
    except QuiesceError as error:
        world.scheduler.tell(f"raised: {type(error).__name__}: {error}")
        _check_error(world, error)
    except Exception as defect:  # noqa: BLE001 - whatever it is, the history shows how it came
        world.scheduler.tell(f"raised: {type(defect).__name__}: {defect}")
        world.laws.check(False, f"a defect: {type(defect).__name__}: {defect}")


def _check_error(world: World, error: QuiesceError) -> None:
    """An error is true: it says so when a guest of ours may be frozen, and blames nobody who did nothing."""
    if isinstance(error, Superseded):
        number = world.scheduler.process.number
        ours = [run.id for run in world.journal.runs.values() if run.owner.pid == number]
        world.laws.check(not ours, f"blamed another process, though we own {ours}: {error}")
    run_id = world.laws.given_up(world.scheduler.thread)
    if isinstance(error, JournalUnavailable) and not isinstance(error, StuckUnjournaled) and run_id is not None:
        frozen = [guest.name for guest in world.guests.values() if guest.held_by(run_id)]
        world.laws.check(not frozen, f"{', '.join(frozen)} frozen by us, and all we say is: {error}")
