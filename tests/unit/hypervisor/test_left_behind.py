"""Whether a cut that was left behind has happened, asked while it is on its way."""

from collections.abc import Callable
from typing import Any

import libvirt
import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import OutcomeUnknown
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.model import Disk, Overlay
from tests.fakes.deadlines import soon

OVERLAY = Overlay(Disk("vda", "vda", "/vm.qcow2", "qcow2", 1), "/vm.quiesce-x.qcow2")


class Domain:
    """A domain on which a snapshot is made, which ends when it was looked at that many times."""

    def __init__(self, looks: int) -> None:
        self._looks = looks

    def _look(self, during: Any, after: Any) -> Any:
        self._looks -= 1
        return during if self._looks >= 0 else after

    def isActive(self) -> bool:
        return True

    def XMLDesc(self) -> str:
        top = self._look(OVERLAY.disk.path, OVERLAY.path)
        return f"<domain><devices><disk><source file='{top}'/></disk></devices></domain>"

    def jobInfo(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_JOB_NONE]

    def controlInfo(self) -> list[int]:
        return [self._look(libvirt.VIR_DOMAIN_CONTROL_OCCUPIED, libvirt.VIR_DOMAIN_CONTROL_OK)]


@pytest.mark.parametrize("looks", [0, 1, 2])
def test_a_cut_that_ends_between_two_looks_is_not_missed(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(_: LibvirtDomain, _what: str, work: Callable[[Any], bool], _deadline: object) -> bool:
        return work(Domain(looks))

    monkeypatch.setattr(LibvirtDomain, "_call", call)
    domain = LibvirtDomain("test:///default", "vm", SystemClock())
    try:
        assert domain.has_snapshot("quiesce-x", [OVERLAY], soon())
    except OutcomeUnknown:
        assert looks == 2
