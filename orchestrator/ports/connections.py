"""The ways to a machine."""

from typing import Protocol

from orchestrator.model import Job, Machine
from orchestrator.ports.agents import Agent
from orchestrator.ports.drivers import Driver
from orchestrator.ports.hypervisors import Hypervisor


class Connections(Protocol):
    """Makes the ways to a machine. Nothing connects before it is used."""

    def agent(self, machine: Machine) -> Agent:
        """The machine's agent by the way by which it is frozen, with the second way behind it."""
        ...

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        """The machine seen from outside, or None when it has neither a libvirt domain nor a QMP socket."""
        ...

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        """The job's driver on that machine, which uses `hypervisor` and leaves it open. Raises ConfigError."""
        ...
