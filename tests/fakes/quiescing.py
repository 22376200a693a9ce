"""A driver that freezes and thaws its guest itself, as libvirt does with `QUIESCE`, and breaks on demand."""

from collections.abc import Mapping
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.ports import Plan
from tests.fakes.agent import FakeAgent
from tests.fakes.driver import MemoryDriver, Storage


class QuiescingMemoryDriver(MemoryDriver):
    """Cuts into a Storage. What is to happen while it holds the guest frozen is the Storage's: around `cut`."""

    def __init__(self, storage: Storage, guest: FakeAgent) -> None:
        super().__init__(storage)
        self._guest = guest

    def quiesced_cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        self._guest.frozen, self._guest.believes_frozen = set(self._guest.mounts), True
        made = self.cut(plan, deadline)
        self._guest.frozen, self._guest.believes_frozen = set(), False
        return made
