"""What every agent promises, whichever way it is reached (see `ports.Agent`): a fake one, and real ones of the lab."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from orchestrator.agent.channel import Channel
from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.libvirt import LibvirtChannel
from orchestrator.agent.replies import MAX_OUTPUT
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import SystemClock
from orchestrator.errors import CommandDisabled, OutcomeUnknown, Rejected, Unreachable
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.model import ExecResult, FreezeStatus
from orchestrator.ports import Agent
from tests.fakes.agent import FakeAgent
from tests.fakes.deadlines import later, soon
from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest
from tests.lab.waiting import wait_for

pytest_plugins = ["tests.lab.fixtures"]

SCRIPT = "echo out; echo err >&2; exit 3"
TOO_MUCH = MAX_OUTPUT + 3


class Guest(Protocol):
    """What these tests do to a guest behind its agent's back."""

    @property
    def mounts(self) -> Sequence[str]: ...
    def frozen_mounts(self) -> list[str]: ...
    def thaw_by_hand(self, mount: str) -> None: ...
    def stop_agent(self) -> None: ...
    def cont_agent(self) -> None: ...


class Stage:
    """A guest, and clients of its agent."""

    def __init__(self, guest: Guest, channel: Callable[[], Channel]) -> None:
        self.guest = guest
        self.mounts = set(guest.mounts)
        self._channel = channel
        self._clients: list[GuestAgent] = []

    def client(self) -> Agent:
        """One more client of the agent."""
        self._clients.append(GuestAgent(self._channel()))
        return self._clients[-1]

    def frozen(self) -> set[str]:
        """What the kernel holds frozen."""
        return set(self.guest.frozen_mounts())

    def await_frozen(self) -> None:
        """Wait until a freeze has landed."""
        wait_for(lambda: self.frozen() == self.mounts, 20, "the late freeze")

    def close(self) -> None:
        """Let the guest and its agent go on."""
        self.guest.cont_agent()
        for client in self._clients:
            client.close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Stage]:
    """The fake agent on its socket."""
    with FakeAgent(tmp_path / "qga.sock", mounts=["/data", "/xfs"]) as guest:
        guest.programs["/bin/sh"] = ExecResult(3, b"out\n", b"err\n")
        guest.programs["/bin/head"] = ExecResult(0, b"\0" * TOO_MUCH, b"")
        guest.programs["/nowhere"] = None
        yield Stage(guest, lambda: unix_channel(str(guest.path)))


@pytest.fixture
def socket(bare_guest: BareGuest) -> Stage:
    """A real agent on the socket of a QEMU without libvirt."""
    return Stage(bare_guest, lambda: unix_channel(str(bare_guest.agent_socket)))


@pytest.fixture
def libvirt(libvirt_guest: LibvirtGuest) -> Stage:
    """A real agent behind a real libvirt."""
    return Stage(
        libvirt_guest, lambda: LibvirtChannel(LibvirtDomain(libvirt_guest.uri, libvirt_guest.name, SystemClock()))
    )


SOCKETS = ["fake", pytest.param("socket", marks=pytest.mark.real)]
ALL = [*SOCKETS, pytest.param("libvirt", marks=pytest.mark.real)]


@pytest.fixture(params=ALL)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A guest at rest, whose file systems are mounted at /data and /xfs."""
    stage: Stage = request.getfixturevalue(request.param)
    yield stage
    stage.close()


@pytest.fixture
def agent(stage: Stage) -> Agent:
    """The first client of the agent."""
    return stage.client()


def test_it_answers(agent: Agent) -> None:
    agent.sync(later())
    agent.ping(later())
    agent.sync(later())


def test_it_says_what_it_can_do(agent: Agent) -> None:
    info = agent.info(later())
    assert info.version.startswith("7.2")
    assert info.enabled >= {"guest-ping", "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list", "guest-fsfreeze-thaw"}


def test_it_says_what_the_guest_is(agent: Agent) -> None:
    osinfo = agent.osinfo(later())
    assert osinfo.id
    assert osinfo.name
    assert osinfo.kernel


def test_it_names_the_file_systems(stage: Stage, agent: Agent) -> None:
    filesystems = agent.fsinfo(later())
    assert {filesystem.mountpoint for filesystem in filesystems} == stage.mounts
    assert {filesystem.device for filesystem in filesystems} == {"vda", "vdb"}
    assert {filesystem.type for filesystem in filesystems} <= {"ext4", "xfs"}


def test_it_freezes_and_thaws_and_counts(stage: Stage, agent: Agent) -> None:
    assert agent.freeze_status(later()) is FreezeStatus.THAWED
    assert agent.freeze([], later()) == 2
    assert stage.frozen() == stage.mounts
    assert agent.freeze_status(later()) is FreezeStatus.FROZEN
    assert agent.thaw(later()) == 2
    assert stage.frozen() == set()
    assert agent.freeze_status(later()) is FreezeStatus.THAWED
    assert agent.thaw(later()) == 0


def test_it_freezes_the_chosen_mount_points_only(stage: Stage, agent: Agent) -> None:
    assert agent.freeze(["/data"], later()) == 1
    assert stage.frozen() == {"/data"}
    assert agent.thaw(later()) == 1
    assert agent.freeze(["/nowhere"], later()) == 0
    assert agent.freeze_status(later()) is FreezeStatus.THAWED


def test_while_frozen_it_refuses_all_but_the_little_that_is_needed(stage: Stage, agent: Agent) -> None:
    agent.freeze([], later())
    for refused in (
        lambda: agent.freeze([], later()),
        lambda: agent.freeze(["/data"], later()),
        lambda: agent.fsinfo(later()),
        lambda: agent.osinfo(later()),
        lambda: agent.execute("/bin/sh", [], later()),
    ):
        with pytest.raises(CommandDisabled, match="frozen state"):
            refused()
    agent.sync(later())
    agent.ping(later())
    assert not agent.info(later()).enabled & {"guest-fsfreeze-freeze", "guest-get-fsinfo", "guest-exec"}
    assert agent.thaw(later()) == 2


def test_after_a_thaw_by_another_hand_only_the_count_tells(stage: Stage, agent: Agent) -> None:
    assert agent.freeze([], later()) == 2
    stage.guest.thaw_by_hand("/data")
    assert agent.freeze_status(later()) is FreezeStatus.FROZEN
    assert agent.thaw(later()) == 1


def test_it_runs_programs(agent: Agent) -> None:
    assert agent.execute("/bin/sh", ["-c", SCRIPT], later()) == ExecResult(3, b"out\n", b"err\n")


def test_a_program_that_does_not_exist_is_rejected(agent: Agent) -> None:
    with pytest.raises(Rejected, match="No such file"):
        agent.execute("/nowhere", [], later())


def test_more_output_than_is_wanted_is_not_taken(agent: Agent) -> None:
    with pytest.raises(OutcomeUnknown, match="does not fit"):
        agent.execute("/bin/head", ["-c", str(TOO_MUCH), "/dev/zero"], later())
    agent.ping(later())


def test_a_mute_agent_is_unreachable_when_the_sync_tells(stage: Stage, agent: Agent) -> None:
    stage.guest.stop_agent()
    with pytest.raises(Unreachable):
        agent.freeze([], soon())
    stage.guest.cont_agent()
    agent.sync(later())
    assert stage.frozen() == set()


def test_a_freeze_that_lands_late_is_unknown_and_can_be_thawed_by_the_same_client(stage: Stage, agent: Agent) -> None:
    agent.sync(later())
    stage.guest.stop_agent()
    with pytest.raises(OutcomeUnknown):
        agent.freeze([], soon())
    stage.guest.cont_agent()
    stage.await_frozen()
    stage.guest.thaw_by_hand("/xfs")  # so that the thaw's count differs from the late reply
    assert agent.thaw(later()) == 1


def test_the_late_reply_to_a_client_that_has_gone_is_not_taken_for_ours(stage: Stage) -> None:
    gone = stage.client()
    gone.sync(later())
    stage.guest.stop_agent()
    with pytest.raises(OutcomeUnknown):
        gone.freeze([], soon())
    gone.close()
    stage.guest.cont_agent()
    stage.await_frozen()
    stage.guest.thaw_by_hand("/xfs")
    assert stage.client().thaw(later()) == 1


def test_a_client_can_drop_its_connection_while_frozen(stage: Stage, agent: Agent) -> None:
    assert agent.freeze([], later()) == 2
    agent.reset()
    assert agent.freeze_status(later()) is FreezeStatus.FROZEN
    agent.close()
    assert stage.client().thaw(later()) == 2


@pytest.mark.real
def test_an_agent_that_was_killed_while_frozen_still_thaws(bare_guest: BareGuest, socket: Stage) -> None:
    agent = socket.client()
    assert agent.freeze([], later()) == 2
    bare_guest.kill_agent()
    with pytest.raises(OutcomeUnknown):
        agent.thaw(soon())
    assert socket.frozen() == socket.mounts
    bare_guest.start_agent()
    agent.sync(later())
    agent.thaw(later())
    assert socket.frozen() == set()
    socket.close()


@pytest.mark.parametrize("stage", SOCKETS, indirect=True)
def test_a_socket_serves_one_client_at_a_time(stage: Stage) -> None:
    first, second = stage.client(), stage.client()
    first.ping(later())
    with pytest.raises(Unreachable, match="another client may hold its channel"):
        second.ping(soon())
    first.close()
    second.ping(later())
