"""The ways to a machine, wired. Rooms are imported where they are needed: the guard needs few, and stays small."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.clock import Clock
from orchestrator.model import Job, Machine
from orchestrator.ports import Driver, DriverContext, Hypervisor, Repository

if TYPE_CHECKING:
    from orchestrator.agent.guest import GuestAgent
    from orchestrator.operating.seams import Channels, PowerSwitch


class RealConnections:
    """Makes the ways to a machine: through libvirt where it has a domain, and by its sockets."""

    def __init__(self, clock: Clock, repositories: Path | None = None) -> None:
        """`repositories` is the folder in which this host remembers its repositories."""
        self._clock = clock
        self._repositories = repositories

    def agent(self, machine: Machine) -> "GuestAgent":
        from orchestrator.agent.guest import GuestAgent

        through_libvirt = None
        if machine.hypervisor is not None:
            from orchestrator.agent.libvirt import LibvirtChannel
            from orchestrator.hypervisor.libvirt import LibvirtDomain

            uri, domain = _domain(machine)
            through_libvirt = GuestAgent(LibvirtChannel(LibvirtDomain(uri, domain, self._clock)))
        if machine.agent is not None:
            from orchestrator.agent.unix import unix_channel

            return GuestAgent(unix_channel(machine.agent), through_libvirt)
        assert through_libvirt is not None
        return through_libvirt

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        if machine.hypervisor is not None:
            from orchestrator.hypervisor.libvirt import LibvirtDomain

            uri, domain = _domain(machine)
            return LibvirtDomain(uri, domain, self._clock)
        if machine.qmp is not None:
            from orchestrator.hypervisor.qmp import BareMachine

            return BareMachine(machine.qmp)
        return None

    def channels(self, machine: Machine) -> "Channels | None":
        if machine.hypervisor is not None:
            from orchestrator.hypervisor.libvirt_channels import LibvirtChannels

            uri, domain = _domain(machine)
            return LibvirtChannels(uri, domain, self._clock)
        if machine.qmp is not None:
            from orchestrator.hypervisor.qmp_channels import BareChannels

            return BareChannels(machine.qmp)
        return None

    def power(self, machine: Machine) -> "PowerSwitch | None":
        if machine.hypervisor is not None:
            from orchestrator.hypervisor.libvirt_power import LibvirtPower

            uri, domain = _domain(machine)
            return LibvirtPower(uri, domain, self._clock)
        if machine.qmp is not None:
            from orchestrator.hypervisor.qmp_power import QmpPower

            return QmpPower(machine.qmp)
        return None

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        from orchestrator import drivers

        return drivers.find(job.driver)(
            DriverContext(
                machine,
                job.name,
                run_id,
                job.options,
                hypervisor,
                self._clock,
                repository=None if job.repository is None else self._repository(job.repository),
                full_every=job.full_every,
                max_incrementals=job.max_incrementals,
                rate=job.rate,
            )
        )

    def _repository(self, path: str) -> Repository:
        from orchestrator.repository import FolderRepository

        return FolderRepository(Path(path), self._repositories)


def _domain(machine: Machine) -> tuple[str, str]:
    assert machine.hypervisor is not None
    assert machine.domain is not None
    return machine.hypervisor, machine.domain
