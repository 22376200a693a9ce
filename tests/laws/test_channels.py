"""An operator's change of a machine's channels: idempotent, in the history, and never on a frozen guest."""

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from orchestrator.acts import AgentChannel, Scope
from orchestrator.clock import Deadline
from orchestrator.errors import ConfigError
from orchestrator.model import Action, State
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.test_operating import operating

NAME = "org.qemu.guest_agent.1"


@dataclass
class MemoryChannels:
    """A domain's channels: the names in each of its definitions."""

    there: dict[Scope, set[str]] = field(default_factory=lambda: {Scope.LIVE: set(), Scope.CONFIG: set()})

    def scopes(self, deadline: Deadline) -> tuple[Scope, ...]:
        return tuple(self.there)

    def list(self, deadline: Deadline) -> tuple[AgentChannel, ...]:
        names = sorted(set().union(*self.there.values()))
        return tuple(AgentChannel(n, tuple(s for s in self.there if n in self.there[s]), False, None) for n in names)

    def add(self, name: str, path: str | None, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        missing = tuple(scope for scope in scopes if name not in self.there[scope])
        for scope in missing:
            self.there[scope].add(name)
        return missing

    def remove(self, name: str, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        found = tuple(scope for scope in scopes if name in self.there[scope])
        for scope in found:
            self.there[scope].remove(name)
        return found

    def close(self) -> None:
        pass


@pytest.fixture
def channels(world: World, guest: FakeAgent) -> MemoryChannels:
    made = world.channel_lists["vm"] = MemoryChannels()
    return made


def test_adding_and_removing_is_idempotent_and_in_the_history(
    world: World, guest: FakeAgent, channels: MemoryChannels
) -> None:
    channelling = operating(world).channelling
    assert channelling.show("vm").value == []
    for added in ([Scope.LIVE, Scope.CONFIG], []):
        run = channelling.add("vm", NAME, None, ())
        assert (run.state, run.steps[-1].action, run.steps[-1].figures["added"]) == (State.DONE, Action.CHANNEL, added)
    [shown] = channelling.show("vm").value
    assert (shown["name"], shown["scopes"], shown["libvirt_s_own"]) == (NAME, (Scope.LIVE, Scope.CONFIG), False)
    for scopes, removed in (((Scope.LIVE,), [Scope.LIVE]), ((), [Scope.CONFIG]), ((), [])):
        run = channelling.remove("vm", NAME, scopes)
        assert (run.state, run.steps[-1].figures["removed"]) == (State.DONE, removed)


def test_a_frozen_guest_keeps_its_channels(world: World, guest: FakeAgent, channels: MemoryChannels) -> None:
    guest.frozen, guest.believes_frozen = {"/"}, True
    channels.there[Scope.LIVE].add(NAME)
    assert operating(world).channelling.remove("vm", NAME, ()).state is State.REFUSED
    assert operating(world).channelling.add("vm", "other", None, ()).state is State.REFUSED
    assert channels.there == {Scope.LIVE: {NAME}, Scope.CONFIG: set()}


def test_what_a_machine_does_not_have_is_not_changed(world: World, guest: FakeAgent, channels: MemoryChannels) -> None:
    del channels.there[Scope.LIVE]
    run = operating(world).channelling.add("vm", NAME, None, (Scope.LIVE,))
    assert (run.state, "use --config" in str(run.error)) == (State.FAILED, True)
    assert operating(world).channelling.add("vm", NAME, None, ()).state is State.DONE
    channels.there.clear()
    run = operating(world).channelling.add("vm", NAME, None, ())
    assert (run.state, "no virtio-serial controller" in str(run.error)) == (State.FAILED, True)


@pytest.mark.parametrize(("name", "path"), [("a b", None), ("", None), (NAME, "relative"), (NAME, "/" + "x" * 107)])
def test_a_name_or_a_path_that_cannot_be_is_a_mistake(
    world: World, guest: FakeAgent, channels: MemoryChannels, name: str, path: str | None
) -> None:
    with pytest.raises(ConfigError):
        operating(world).channelling.add("vm", name, path, ())
    assert world.journal.history(1) == ()


def test_a_machine_without_libvirt_is_told_what_to_do(world: World, guest: FakeAgent) -> None:
    with pytest.raises(ConfigError, match="-device virtserialport"):
        operating(world).channelling.show("vm")
