"""The ways to a machine, wired. Rooms are imported where they are needed: the guard needs few, and stays small."""

from collections.abc import Mapping

from orchestrator.clock import Clock
from orchestrator.model import Job, Machine
from orchestrator.ports import Agent, Driver, DriverContext, Hypervisor


class RealConnections:
    """Makes the ways to a machine: through libvirt where it has a domain, and by its sockets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def agent(self, machine: Machine) -> Agent:
        from orchestrator.agent.guest import GuestAgent

        if machine.agent is not None:
            from orchestrator.agent.unix import unix_channel

            return GuestAgent(unix_channel(machine.agent))
        from orchestrator.agent.libvirt import LibvirtChannel
        from orchestrator.hypervisor.libvirt import LibvirtDomain

        uri, domain = _domain(machine)
        return GuestAgent(LibvirtChannel(LibvirtDomain(uri, domain, self._clock)))

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        if machine.hypervisor is not None:
            from orchestrator.hypervisor.libvirt import LibvirtDomain

            uri, domain = _domain(machine)
            return LibvirtDomain(uri, domain, self._clock)
        if machine.qmp is not None:
            from orchestrator.hypervisor.qmp import BareMachine

            return BareMachine(machine.qmp)
        return None

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        from orchestrator import drivers

        options: Mapping[str, object] = job.options
        context = DriverContext(machine, job.name, run_id, options, hypervisor, self._clock)
        return drivers.find(job.driver)(context)


def _domain(machine: Machine) -> tuple[str, str]:
    assert machine.hypervisor is not None
    assert machine.domain is not None
    return machine.hypervisor, machine.domain
