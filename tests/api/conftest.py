"""A served site with one machine, `vm`, and one job over it, `nightly`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.site import Site, served
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World, guest, world

__all__ = ["guest", "world"]  # fixtures


@pytest.fixture
def site(world: World, guest: FakeAgent, tmp_path: Path) -> Iterator[Site]:
    with served(world, tmp_path) as found:
        yield found
