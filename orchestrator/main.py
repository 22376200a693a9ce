"""The wiring: the only module that knows every room. It makes the parts and hands them to each other.

Rooms are imported where they are needed: `quiesce history` should not wait for libvirt to load.
"""

import atexit
import gc
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

from orchestrator import drivers, owner
from orchestrator.cli import make_app
from orchestrator.cli.streams import Stream
from orchestrator.clock import Clock, Stop, SystemClock
from orchestrator.model import Job, Machine
from orchestrator.ports import Agent, Driver, DriverContext, Hypervisor
from orchestrator.service import Service
from orchestrator.settings import Settings, load


def main() -> None:
    """The command `quiesce`."""
    # What is loaded stays until the end. Looking through it for garbage, again and again while it loads and once more
    # at the exit, took a fifth of a short command's time.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    make_app(Wiring())()


class Wiring:
    """Makes what the command line asks for, from a configuration file."""

    def settings(self, path: Path) -> Settings:
        return load(path, drivers.known())

    def service(self, path: Path) -> Service:
        from orchestrator.journal import SqlJournal

        settings, clock = self.settings(path), SystemClock()
        return Service(
            machines=settings.machines,
            jobs=settings.jobs,
            journal=SqlJournal.open(settings.journal_url, clock),
            connections=RealConnections(clock),
            clock=clock,
            owner=owner.current(),
            is_gone=owner.is_gone,
        )

    def upgrade(self, path: Path) -> tuple[str | None, str]:
        from orchestrator.journal import upgrade

        done = upgrade(self.settings(path).journal_url)
        return done.before, done.after

    def serve(self, path: Path, stop: Stop) -> None:
        from orchestrator.scheduler import Scheduler

        _log_to_standard_error()
        Scheduler(self.service(path), SystemClock()).serve(stop)


def _log_to_standard_error() -> None:
    """Standard output is for results. Values are shown as Python's literals: what a guest said stays on its line."""
    import structlog

    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    line = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, line],
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Stream(sys.stderr))),
    )


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
        options: Mapping[str, object] = job.options
        context = DriverContext(machine, job.name, run_id, options, hypervisor, self._clock)
        return drivers.find(job.driver)(context)


def _domain(machine: Machine) -> tuple[str, str]:
    assert machine.hypervisor is not None
    assert machine.domain is not None
    return machine.hypervisor, machine.domain
