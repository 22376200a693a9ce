"""Guests for pytest: `pytest_plugins = ["tests.lab.fixtures"]`.

`bare_guest` and `libvirt_guest` are shared by the whole session: each test gets them at rest (agent restarted with its
usual options, everything thawed, load stopped), or gets a new one when the last test left something that cannot be
put right. What a test wants for itself, or wants to break, it takes from `fresh_bare_guest` and `fresh_libvirt_guest`,
which are called with a Spec.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, TypeVar

import pytest

from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest, Guest, Spec
from tests.lab.heir import sweep
from tests.lab.image import ensure_image
from tests.lab.waiting import LabError, wait_for

AnyGuest = TypeVar("AnyGuest", bound=Guest)
FreshBareGuest = Callable[..., BareGuest]
FreshLibvirtGuest = Callable[..., LibvirtGuest]


def bring_to_rest(guest: Guest) -> None:
    """Undo what a test may have done in a guest; LabError when that cannot be done."""
    guest.run("killall -9 stallmeter writer; rm -f /run/stallmeter.log /run/writer.*")
    guest.kill_agent()
    for mount in guest.frozen_mounts():
        guest.thaw_by_hand(mount)
    guest.shell("rm -rf /run/qga /etc/qemu/* /data/records /data/dirty /data/stallmeter")
    if guest.spec.start_agent and guest.spec.channels:
        guest.start_agent()
        wait_for(lambda: guest.agent("guest-fsfreeze-status") == "thawed", 10, "the agent's word that all is thawed")


class Shared(Generic[AnyGuest]):
    """One guest for many tests, replaced when it is no longer fit for the next one."""

    def __init__(self, make: Callable[[], AnyGuest]) -> None:
        self._make = make
        self._guest: AnyGuest | None = None

    def at_rest(self) -> AnyGuest:
        """Return the guest, fit for a test."""
        if self._guest is not None and not self._fit(self._guest):
            self.stop()
        if self._guest is None:
            self._guest = self._make()
            self._guest.start().wait_ready()
        return self._guest

    def stop(self) -> None:
        """End the guest, if there is one."""
        if self._guest is not None:
            self._guest.stop()
            self._guest = None

    @staticmethod
    def _fit(guest: AnyGuest) -> bool:
        """Tell whether the guest is at rest, or could be brought there."""
        try:
            bring_to_rest(guest)
            return guest.reusable()
        except (LabError, OSError):
            return False


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
    """A maker of bare guests for this test alone: `fresh_bare_guest(Spec(...))`, booted; they end with the test."""
    with ExitStack() as guests:

        def make(spec: Spec | None = None) -> BareGuest:
            return guests.enter_context(BareGuest(spec))

        yield make


@pytest.fixture
def fresh_libvirt_guest(lab: None) -> Iterator[FreshLibvirtGuest]:
    """A maker of libvirt guests for this test alone: `fresh_libvirt_guest(Spec(...))`, booted; they end with it."""
    with ExitStack() as guests:

        def make(spec: Spec | None = None) -> LibvirtGuest:
            return guests.enter_context(LibvirtGuest(spec))

        yield make
