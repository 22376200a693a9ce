"""A fake guest, and clients of its agent."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from tests.fakes.agent import FakeAgent


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[FakeAgent]:
    """A guest with two file systems."""
    with FakeAgent(tmp_path / "qga.sock") as guest:
        yield guest


@pytest.fixture
def client(guest: FakeAgent) -> Iterator[Callable[[], GuestAgent]]:
    """Makes one more client of the guest's agent."""
    made: list[GuestAgent] = []

    def make() -> GuestAgent:
        made.append(GuestAgent(unix_channel(str(guest.path))))
        return made[-1]

    yield make
    for agent in made:
        agent.close()


@pytest.fixture
def agent(client: Callable[[], GuestAgent]) -> GuestAgent:
    """The only client of the guest's agent."""
    return client()
