"""Guests that many tests share: brought to rest between two of them, or replaced. Also the types of the fixtures.

Apart from the fixtures, so that a test can import it: pytest objects to an import of what it takes for a plugin.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from tests.lab.base import Guest
from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest
from tests.lab.waiting import PATIENCE, LabError, wait_for

AnyGuest = TypeVar("AnyGuest", bound=Guest)
FreshBareGuest = Callable[..., BareGuest]
FreshLibvirtGuest = Callable[..., LibvirtGuest]


#: In one script, for each costs a tenth of a second: end the load and the agent, thaw, and remove what they left.
REST = """
killall -9 stallmeter writer app sqlite3 qemu-ga 2>/dev/null
while killall -0 qemu-ga 2>/dev/null; do sleep 0.02; done
for mount in {mounts}; do
    case $(frozen $mount) in frozen*) fsfreeze -u $mount || exit ;; esac
done
rm -rf /run/stallmeter.log /run/writer.* /run/qga /etc/qemu/* /data/records /data/dirty /data/stallmeter
rm -rf /data/app.db* /run/quiesce-fsfreeze /etc/quiesce
"""


def bring_to_rest(guest: Guest) -> None:
    """Undo what a test may have done in a guest; LabError when that cannot be done."""
    guest.shell(REST.format(mounts=" ".join(guest.mounts)), PATIENCE)
    for node in guest.monitor("query-named-block-nodes", {"flat": True}):
        for bitmap in node.get("dirty-bitmaps", []):
            guest.monitor("block-dirty-bitmap-remove", {"node": node["node-name"], "name": bitmap["name"]})
    wait_for(lambda: not guest.open_channels(), PATIENCE, "the end of the agent")
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
            if not guest.reusable():
                return False
            bring_to_rest(guest)
            return True
        except (LabError, OSError):
            return False
