"""A small world: fake guests on real sockets, storage in memory, a real journal on SQLite, and the real service."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from orchestrator import owner
from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import SystemClock
from orchestrator.journal import SqlJournal
from orchestrator.model import Consistency, Job, Machine, Owner, Run, State, Way
from orchestrator.operating.seams import Channels, PowerSwitch
from orchestrator.policy import exit_code
from orchestrator.ports import Driver, Examine, Hypervisor, Journal
from orchestrator.service import Service
from tests.fakes.agent import FakeAgent
from tests.fakes.driver import MemoryDriver, Storage
from tests.fakes.guard import MemoryGuard


class World:
    """What is there, whatever process looks at it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.guests: dict[str, FakeAgent] = {}
        self.storages: dict[str, Storage] = {}
        self.machines: dict[str, Machine] = {}
        self.hypervisors: dict[str, Hypervisor] = {}
        self.channel_lists: dict[str, Channels] = {}
        self.switches: dict[str, PowerSwitch] = {}
        #: The second agents of guests that have one; each has a belief of its own about the same file systems.
        self.second: dict[str, FakeAgent] = {}
        self.journal: Journal = SqlJournal.open(f"sqlite:///{folder}/journal.db", SystemClock())
        self.guard = MemoryGuard()
        self.examine: Examine = lambda machine, run_id, verify: {}
        self.makes_driver: Callable[[Storage], Driver] = MemoryDriver
        self.owner = owner.current()
        self.gone: set[Owner] = set()

    def add_guest(self, name: str) -> FakeAgent:
        """One more machine, with a running agent."""
        path = self._folder / f"{name}.sock"
        self.guests[name] = self._stack.enter_context(FakeAgent(path))
        self.storages[name] = Storage()
        self.machines[name] = Machine(name, agent=str(path))
        return self.guests[name]

    def add_second_way(self, name: str) -> FakeAgent:
        """One more agent in a guest, behind its second way."""
        self.second[name] = self._stack.enter_context(FakeAgent(self._folder / f"{name}-second.sock"))
        self.second[name].frozen = self.guests[name].frozen
        return self.second[name]

    def service(self, **changes: Any) -> Service:
        """The service with one job, `nightly`, over all machines."""
        job = Job("nightly", tuple(self.machines), driver="memory", hold_limit=5, thaw_timeout=5, freeze_timeout=5)
        return Service(
            machines=self.machines,
            jobs={"nightly": replace(job, **changes)},
            journal=self.journal,
            connections=self,
            examine=self.examine,
            guard=self.guard,
            clock=SystemClock(),
            owner=self.owner,
            is_gone=lambda someone: someone.pid == 0 or someone in self.gone,
        )

    def die(self) -> None:
        """The process that owns the runs is gone; the world is another process's now."""
        self.gone.add(self.owner)
        self.owner = replace(self.owner, pid=self.owner.pid + 1)

    def agent(self, machine: Machine) -> GuestAgent:
        assert machine.agent is not None
        if (second := self.second.get(machine.name)) is None:
            return GuestAgent(unix_channel(machine.agent))
        channel = unix_channel(str(second.path))
        channel.way = Way.LIBVIRT  # as a machine with two ways has it
        return GuestAgent(unix_channel(machine.agent), GuestAgent(channel))

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        return self.hypervisors.get(machine.name)

    def channels(self, machine: Machine) -> Channels | None:
        return self.channel_lists.get(machine.name)

    def power(self, machine: Machine) -> PowerSwitch | None:
        return self.switches.get(machine.name)

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        return self.makes_driver(self.storages[machine.name])


def how(run: Run) -> tuple[State, Consistency, int]:
    """How a run ended, and what its command exits with."""
    return run.state, run.consistency, exit_code(run)


def later(monkeypatch: pytest.MonkeyPatch, how_much: timedelta) -> None:
    """The wall clock goes on."""
    real = SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda self: real(self) + how_much)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An empty world, in which a thaw is tried again sooner than on a real guest."""
    monkeypatch.setattr("orchestrator.thawing._ONE_TRY", 0.5)
    monkeypatch.setattr("orchestrator.agent.session.Session.linger", 0.3)
    monkeypatch.setattr("orchestrator.thawing._LOOK", 0.05)
    with ExitStack() as stack:
        yield World(tmp_path, stack)


@pytest.fixture
def guest(world: World) -> FakeAgent:
    """The machine `vm` of the world."""
    return world.add_guest("vm")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that does not answer the pre-flight is given up soon: only for tests in which none answers."""
    monkeypatch.setattr("orchestrator.transaction._PREFLIGHT", 3.0)
