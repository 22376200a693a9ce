"""What the tests of the hypervisors share."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.hypervisor.still import Still, StillQemu


@pytest.fixture
def still(tmp_path: Path) -> Iterator[StillQemu]:
    """Starts a QEMU that never boots, with these arguments. It ends with the test."""
    with ExitStack() as ends:

        def start(*arguments: str) -> Still:
            qemu = Still(tmp_path, *arguments)
            ends.callback(qemu.end)
            return qemu

        yield start
