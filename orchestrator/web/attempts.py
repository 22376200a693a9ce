"""How often somebody may show a token that is none."""

import threading
from collections import OrderedDict, deque
from ipaddress import IPv6Address, ip_address

from orchestrator.clock import Clock

#: Failures that an address may have within that many seconds. More are refused unread.
MOST, WITHIN = 10, 60.0
#: Addresses that are remembered: those that failed last.
_ADDRESSES = 4096


class Attempts:
    """The failures of each address lately. A network of IPv6, of which one host has 2^64 addresses, counts as one."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Whole seconds until this address may try again; 0: now."""
        with self._lock:
            failures = self._failures.get(_network(address))
            if failures is None or len(failures) < MOST:
                return 0
            left = failures[0] + WITHIN - self._clock.monotonic()
            return int(left) + 1 if left > 0 else 0

    def failed(self, address: str) -> None:
        """Remember a failure of this address."""
        with self._lock:
            network = _network(address)
            self._failures.setdefault(network, deque(maxlen=MOST)).append(self._clock.monotonic())
            self._failures.move_to_end(network)
            if len(self._failures) > _ADDRESSES:
                self._failures.popitem(last=False)


def _network(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(int(found) >> 64)
    return str(getattr(found, "ipv4_mapped", None) or found)
