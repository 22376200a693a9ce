"""The wiring: the only module that knows every room. It makes the parts and hands them to each other.

Rooms are imported where they are needed: `quiesce history` should not wait for libvirt to load.
"""

import atexit
import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

from orchestrator import drivers, owner
from orchestrator.backups import Backups
from orchestrator.cli import make_app
from orchestrator.cli.streams import Stream
from orchestrator.clock import Stop, SystemClock
from orchestrator.model import Machine
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
        from orchestrator.connections import RealConnections
        from orchestrator.guard.leases import ProcessGuard
        from orchestrator.journal import SqlJournal

        settings, clock = self.settings(path), SystemClock()
        state = _state_folder(settings.journal_url)
        return Service(
            machines=settings.machines,
            jobs=settings.jobs,
            journal=SqlJournal.open(settings.journal_url, clock),
            connections=RealConnections(clock, state / "repositories"),
            guard=ProcessGuard(state / "guard", clock),
            clock=clock,
            owner=owner.current(),
            is_gone=owner.is_gone,
        )

    def backups(self, path: Path, repository: Path | None) -> Backups:
        from orchestrator.hypervisor.domains import LibvirtDomains
        from orchestrator.images import QemuImages
        from orchestrator.repository import FolderRepository

        clock = SystemClock()
        if repository is not None:
            machines: Mapping[str, Machine] = {}
            repositories = [FolderRepository(repository.absolute(), None)]
        else:
            settings = self.settings(path)
            machines = settings.machines
            memory = _state_folder(settings.journal_url) / "repositories"
            folders = dict.fromkeys(job.repository for job in settings.jobs.values() if job.repository is not None)
            repositories = [FolderRepository(Path(folder), memory) for folder in folders]
        return Backups(
            repositories=repositories,
            machines=machines,
            images=QemuImages(clock),
            domains=lambda uri: LibvirtDomains(uri, clock),
        )

    def upgrade(self, path: Path) -> tuple[str | None, str]:
        from orchestrator.journal import upgrade

        done = upgrade(self.settings(path).journal_url)
        return done.before, done.after

    def serve(self, path: Path, stop: Stop) -> None:
        from orchestrator.scheduler import Scheduler

        _log_to_standard_error()
        Scheduler(self.service(path), SystemClock()).serve(stop)


def _state_folder(journal_url: str) -> Path:
    """Where this host's own state is: beside the journal's file, or where systemd, or the custom, has it."""
    from orchestrator.journal import folder

    state = os.environ.get("STATE_DIRECTORY", "/var/lib/quiesce").partition(":")[0]
    return folder(journal_url) or Path(state)


def _log_to_standard_error() -> None:
    """Standard output is for results. Values are shown as Python's literals: what a guest said stays on its line."""
    import structlog

    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    line = structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"])
    structlog.configure(
        processors=[structlog.processors.add_log_level, stamp, line],
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Stream(sys.stderr))),
    )
