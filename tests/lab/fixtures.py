"""Guests for pytest: `pytest_plugins = ["tests.lab.fixtures"]`.

`bare_guest` and `libvirt_guest` are shared by the whole session: each test gets them at rest (agent restarted with its
usual options, everything thawed, load stopped), or gets a new one when the last test left something that cannot be
put right. What a test wants for itself, or wants to break, it takes from `fresh_bare_guest` and `fresh_libvirt_guest`,
which are called with a Spec.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.lab.base import Spec
from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest
from tests.lab.heir import sweep
from tests.lab.image import ensure_image
from tests.lab.sharing import FreshBareGuest, FreshLibvirtGuest, Shared


@pytest.fixture(scope="session")
def lab() -> None:
    """Make the lab ready: nothing left over of a killed run, the image built."""
    sweep()
    ensure_image()


@pytest.fixture(scope="session")
def shared_bare_guest(lab: None) -> Iterator[Shared[BareGuest]]:
    """The holder behind `bare_guest`."""
    shared = Shared(BareGuest)
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def shared_libvirt_guest(lab: None) -> Iterator[Shared[LibvirtGuest]]:
    """The holder behind `libvirt_guest`."""
    shared = Shared(LibvirtGuest)
    yield shared
    shared.stop()


@pytest.fixture
def bare_guest(shared_bare_guest: Shared[BareGuest]) -> BareGuest:
    """The session's bare guest, at rest."""
    return shared_bare_guest.at_rest()


@pytest.fixture
def libvirt_guest(shared_libvirt_guest: Shared[LibvirtGuest]) -> LibvirtGuest:
    """The session's libvirt guest, at rest."""
    return shared_libvirt_guest.at_rest()


@pytest.fixture
def fresh_bare_guest(lab: None) -> Iterator[FreshBareGuest]:
    """A maker of bare guests for this test alone: `fresh_bare_guest(Spec(...))`, ready; they end with the test."""
    with ExitStack() as guests:

        def make(spec: Spec | None = None) -> BareGuest:
            return guests.enter_context(BareGuest(spec))

        yield make


@pytest.fixture
def fresh_libvirt_guest(lab: None) -> Iterator[FreshLibvirtGuest]:
    """A maker of libvirt guests for this test alone: `fresh_libvirt_guest(Spec(...))`, ready; they end with it."""
    with ExitStack() as guests:

        def make(spec: Spec | None = None) -> LibvirtGuest:
            return guests.enter_context(LibvirtGuest(spec))

        yield make
