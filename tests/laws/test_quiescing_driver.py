"""A driver that freezes the guest itself: the thaw, the guard and the history are ours all the same."""

import threading

import pytest

from orchestrator.clock import SystemClock, Task
from orchestrator.drivers import find
from orchestrator.errors import ConfigError, OutcomeUnknown, Rejected
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Action, Consistency, Job, Machine, Outcome, Quiesce, Run, State
from orchestrator.policy import exit_code
from orchestrator.ports import Driver, DriverContext, Hypervisor
from tests.fakes.agent import FakeAgent
from tests.fakes.quiescing import QuiescingMemoryDriver
from tests.laws.conftest import World

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


@pytest.fixture
def guest(world: World, monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    """The machine `vm`, whose driver freezes it itself."""
    guest = world.add_guest("vm")

    def driver(job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        return QuiescingMemoryDriver(world.storages[machine.name], guest)

    monkeypatch.setattr(world, "driver", driver)
    return guest


def run(world: World, **job: object) -> Run:
    return world.service(quiesce=Quiesce.PREFERRED, **job).run("nightly")


def outcome(run: Run, action: Action) -> Outcome:
    return [step.outcome for step in run.steps if step.action is action][-1]


def wait_for(event: threading.Event) -> None:
    assert event.wait(30)


def fails(error: Exception) -> None:
    raise error


def test_its_cut_is_never_proven_and_the_thaw_is_confirmed_by_us(world: World, guest: FakeAgent) -> None:
    seen: list[set[str]] = []
    world.storages["vm"].before["cut"].append(lambda: seen.append(set(guest.frozen)))
    done = run(world)

    assert (done.state, done.consistency, exit_code(done)) == (State.DONE, Consistency.CRASH, 4)
    assert "it was left to the driver" in str(done.error)
    assert seen == [{"/", "/data"}]
    assert (guest.calls.count(FREEZE), guest.calls.count(THAW)) == (0, 1)
    assert [(s.action, s.outcome) for s in done.steps][-7:] == [
        (Action.FREEZE, Outcome.INTENT),
        (Action.CUT, Outcome.INTENT),
        (Action.THAW, Outcome.INTENT),
        (Action.FREEZE, Outcome.UNKNOWN),
        (Action.CUT, Outcome.DONE),
        (Action.THAW, Outcome.DONE),
        (Action.CONFIRM, Outcome.DONE),
    ]
    assert world.guard.armed == {}


@pytest.mark.parametrize("error", [OutcomeUnknown("libvirtd is gone"), Rejected("it has no room")])
def test_a_guest_that_it_leaves_frozen_is_thawed(world: World, guest: FakeAgent, error: Exception) -> None:
    world.storages["vm"].before["cut"].append(lambda: fails(error))
    failed = run(world)
    assert (failed.state, guest.frozen) == (State.FAILED, set())
    watched = outcome(failed, Action.CUT) is Outcome.UNKNOWN
    assert (guest.calls.count("guest-fsfreeze-status") > 3) is watched, "a freeze may land while its end is not known"


def test_one_that_hangs_is_outlived_when_its_freeze_and_its_cut_had_their_time(world: World, guest: FakeAgent) -> None:
    going = threading.Event()
    world.storages["vm"].before["cut"].append(lambda: wait_for(going))
    task = Task(SystemClock(), "run", lambda: run(world, hold_limit=0.2, freeze_timeout=0.2))
    guest.wait_for(lambda guest: guest.calls.count(THAW) == 1, 30)
    [(_, told)] = list(world.guard.armed.items())
    assert (0.4, False) in told
    going.set()
    task.join()
    assert (guest.frozen, task.result().consistency) == (set(), Consistency.CRASH)


def test_it_only_cuts_where_the_guest_cannot_be_frozen(world: World, guest: FakeAgent) -> None:
    guest.disabled.add(FREEZE)
    seen: list[set[str]] = []
    world.storages["vm"].before["cut"].append(lambda: seen.append(set(guest.frozen)))
    done = run(world)
    assert (done.state, done.consistency, seen) == (State.DONE, Consistency.CRASH, [set()])
    assert guest.calls.count(THAW) == 0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"quiesce": Quiesce.REQUIRED}, 'Set quiesce = "preferred"'),
        ({"quiesce": Quiesce.PREFERRED, "group": True}, "take out group"),
        ({"quiesce": Quiesce.PREFERRED, "mountpoints": ("/data",)}, "take out mountpoints"),
    ],
)
def test_a_job_that_asks_too_much_of_it_is_a_mistake_that_touches_nothing(
    world: World, guest: FakeAgent, keys: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        world.service(**keys).run("nightly")
    assert (guest.calls, world.journal.history(1)) == ([], ())


@pytest.mark.parametrize(
    "machine", [Machine("vm", agent="/qga", qmp="/qmp"), Machine("vm", "qemu:///system", "vm", agent="/qga")]
)
def test_libvirt_must_hold_the_agent(machine: Machine) -> None:
    context = DriverContext(machine, "nightly", "run", {}, BareMachine("/qmp"), SystemClock())
    with pytest.raises(ConfigError, match="libvirt-quiesce needs a machine with `hypervisor` and without `agent`"):
        find("libvirt-quiesce")(context)
