"""Guests that many tests share: brought to rest between two of them, or replaced. Also the types of the fixtures.

Apart from the fixtures, so that a test can import it: pytest objects to an import of what it takes for a plugin.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from tests.lab.base import Guest
from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest
from tests.lab.waiting import LabError

AnyGuest = TypeVar("AnyGuest", bound=Guest)
FreshBareGuest = Callable[..., BareGuest]
FreshLibvirtGuest = Callable[..., LibvirtGuest]


def bring_to_rest(guest: Guest) -> None:
    """Undo what a test may have done in a guest; LabError when that cannot be done."""
    guest.run("killall -9 stallmeter writer; rm -f /run/stallmeter.log /run/writer.*")
    guest.kill_agent()
    for mount in guest.frozen_mounts():
        guest.thaw_by_hand(mount)
    for node in guest.monitor("query-named-block-nodes", {"flat": True}):
        for bitmap in node.get("dirty-bitmaps", []):
            guest.monitor("block-dirty-bitmap-remove", {"node": node["node-name"], "name": bitmap["name"]})
    guest.shell("rm -rf /run/qga /etc/qemu/* /data/records /data/dirty /data/stallmeter")
    if guest.spec.start_agent and guest.spec.channels:
        guest.start_agent()
        if guest.agent("guest-fsfreeze-status") != "thawed":
            raise LabError("the agent still takes its guest for frozen")


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
