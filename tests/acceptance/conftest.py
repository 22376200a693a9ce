"""What the acceptance tests share: the command, a guest of each form, a gate to stop in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product
from tests.lab import Guest


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """The command with a configuration that has no machines yet. What it started ends with the test."""
    product = Product(tmp_path)
    yield product
    product.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A program to stop in."""
    with Gate(tmp_path) as gate:
        yield gate


@pytest.fixture(params=["bare_guest", "libvirt_guest"])
def guest(request: pytest.FixtureRequest, product: Product) -> Guest:
    """The session's guest of each form, configured as the machine `vm`."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Guest)
    product.machine("vm", found)
    return found


@pytest.fixture
def vm(bare_guest: Guest, product: Product) -> Guest:
    """The session's bare guest, configured as the machine `vm`: for what does not depend on the form."""
    product.machine("vm", bare_guest)
    return bare_guest
