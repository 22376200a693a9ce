"""libvirt's own quiesced snapshot: libvirt freezes, cuts and thaws in one call. Why it is not the default:
docs/decisions/0016-libvirt-quiesce.md.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.drivers.external_snapshot import ExternalSnapshot, made, overlays_of
from orchestrator.errors import ConfigError
from orchestrator.ports import DriverContext, Plan, QuiescingHypervisor


class LibvirtQuiesce(ExternalSnapshot):
    """An external snapshot, for which libvirt holds the freeze: one `snapshotCreateXML` with `QUIESCE`.

    What libvirt froze, it does not tell, so the cut is never proven to be more than crash-consistent.
    """

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError when the job has options, or the machine's agent is not in libvirt's hands."""
        super().__init__(context)
        if not isinstance(context.hypervisor, QuiescingHypervisor) or context.machine.agent is not None:
            raise ConfigError(
                f"job {context.job}: the driver libvirt-quiesce needs a machine with `hypervisor` and without `agent`: "
                f"only libvirt can do it, by its own channel to the agent. {context.machine.name} is not one"
            )
        self._libvirt: QuiescingHypervisor = context.hypervisor

    def quiesced_cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Let libvirt freeze the guest, move all disks onto their overlays at once, and thaw it."""
        self._libvirt.quiesced_snapshot(plan["snapshot"], overlays_of(plan), deadline)
        return made(plan)
