"""The wiring: the only module that knows every room. It makes the parts and hands them to each other.

Rooms are imported where they are needed: `quiesce history` should not wait for libvirt to load.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TextIO, cast

from orchestrator import answers, drivers, owner
from orchestrator.answers import Report
from orchestrator.backups import Backups
from orchestrator.cli import make_app
from orchestrator.cli.streams import Stream
from orchestrator.clock import Bell, Deadline, Stop, SystemClock
from orchestrator.errors import ConfigError
from orchestrator.examining import Examiner
from orchestrator.model import Coming, Deed, Delivery, Job, Machine
from orchestrator.operating import Entries, Operating
from orchestrator.ports import Audit, Domains, Journal, Schedules, Tokens
from orchestrator.service import Service
from orchestrator.settings import Settings, load
from orchestrator.slots import Slots

if TYPE_CHECKING:
    from orchestrator.client import Remote
    from orchestrator.journal import SqlJournal


#: New objects after which a service looks for garbage among them.
_GARBAGE = 10_000
#: Seconds for which the end of the service lets runs go on that were asked for.
_PATIENCE = 60.0
#: Cuts that a report names.
_MOST_UNQUIESCED = 1000


def main() -> None:
    """The command `quiesce`."""
    try:
        make_app(Wiring())()
    except SystemExit as end:
        _leave(end.code if isinstance(end.code, int) else int(end.code is not None))
    except OSError as error:  # what a command writes is dropped when it cannot be written; this was the help
        with suppress(OSError):
            sys.stderr.write(f"quiesce: standard output: {error.strerror}\n")
        _leave(1)


def _leave(code: int) -> NoReturn:
    """End at once, with this exit code.

    A call into libvirt that was left behind may return at any time. One that returns into an interpreter which is being
    taken down crashes it: then a script would see SIGSEGV in place of the exit code.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is closed, full, or was never there
            stream.flush()
    os._exit(code)


class Wiring:
    """Makes what the command line asks for, from a configuration file."""

    def settings(self, path: Path) -> Settings:
        return load(path, drivers.known())

    def service(self, path: Path) -> Service:
        settings = self.settings(path)
        slots = Slots(SystemClock())
        slots.allow(settings.max_parallel, settings.hypervisors)
        return self._service(settings, self._journal(settings), slots)

    def schedules(self, path: Path) -> Schedules:
        return self._journal(self.settings(path)).schedules()

    def _journal(self, settings: Settings) -> "SqlJournal":
        from orchestrator.journal import SqlJournal

        return SqlJournal.open(settings.journal_url, SystemClock())

    def _service(self, settings: Settings, journal: Journal, slots: Slots) -> Service:
        from orchestrator.connections import RealConnections
        from orchestrator.guard.leases import ProcessGuard

        clock, state = SystemClock(), _state_folder(settings.journal_url)
        return Service(
            machines=settings.machines,
            jobs=settings.jobs,
            journal=journal,
            connections=RealConnections(clock, state / "repositories"),
            guard=ProcessGuard(state / "guard", clock),
            examine=lambda *asked: self._backups(settings, lambda: journal).examine(*asked),
            clock=clock,
            owner=owner.current(),
            is_gone=owner.is_gone,
            slots=slots,
        )

    def backups(self, path: Path, repository: Path | None) -> Backups:
        if repository is not None:
            return _backups([repository.absolute()], None, {}, None)
        settings = self.settings(path)
        return self._backups(settings, cache(partial(self._journal, settings)))

    def _backups(self, settings: Settings, journal: Callable[[], Journal]) -> Backups:
        folders = dict.fromkeys(Path(job.repository) for job in settings.jobs.values() if job.repository is not None)
        memory = _state_folder(settings.journal_url) / "repositories"
        return _backups(folders, memory, settings.machines, journal)

    def operating(self, path: Path) -> Operating:
        from orchestrator.connections import RealConnections

        settings, clock = self.settings(path), SystemClock()
        journal = self._journal(settings)
        entries = Entries(
            machines=settings.machines,
            journal=journal,
            clock=clock,
            owner=owner.current(),
            operator=owner.operator(),
            recovery=self._service(settings, journal, Slots(clock)).recovery(),
        )
        return Operating(entries, RealConnections(clock))

    def init(self, path: Path, uri: str) -> tuple[str, ...]:
        from orchestrator.hypervisor.domains import LibvirtDomains
        from orchestrator.settings import first

        domains = LibvirtDomains(uri, SystemClock()).names()
        first.write(path, uri, domains)
        return domains

    def upgrade(self, path: Path) -> tuple[str | None, str]:
        from orchestrator.journal import upgrade

        done = upgrade(self.settings(path).journal_url)
        return done.before, done.after

    def serve(self, path: Path, stop: Stop, hangup: Bell) -> None:
        from orchestrator import logs
        from orchestrator.demand import Demand
        from orchestrator.scheduler import Scheduler
        from orchestrator.scheduler.single import only_one
        from orchestrator.watching import Watching
        from orchestrator.web import Feed, Parts, listening, make_site, serving

        logs.to(cast(TextIO, Stream(sys.stderr)))
        settings, clock = self.settings(path), SystemClock()
        journal, slots = self._journal(settings), Slots(clock)
        schedules, watching = journal.schedules(), Watching(journal, clock)

        def load() -> Settings:
            found = self.settings(path)
            watching.configure(found.notices, path)
            slots.allow(found.max_parallel, found.hypervisors)
            return found

        def daily() -> None:
            _forget(self.settings(path), journal)
            journal.events().trim()

        def coming(count: int) -> Sequence[Coming]:
            return _coming(service.jobs, schedules, count)

        with only_one(_service_file(settings)), listening(settings.listen) as sockets, closing(watching):
            feed = Feed(journal.events(), clock)
            service = self._service(load(), watching.witnessed(feed.witness), slots)
            scheduler = Scheduler(service, schedules, clock, watching.messenger, watching.events.seen)
            demand = Demand(service, journal.requests(), clock, stop)
            parts = Parts(
                service=service,
                demand=demand,
                ledger=journal.ledger(),
                statistics=journal.statistics(),
                schedules=schedules,
                coming=coming,
                report=partial(self.report, path),
                metrics=watching.metrics(service, partial(coming, 1), scheduler.queued),
                feed=feed,
                tokens=journal.tokens(),
                audit=journal.audit(),
            )
            with serving(make_site(parts, clock), sockets, settings.tls):
                gc.freeze()  # What is loaded by now stays; from now on garbage is looked for,
                gc.set_threshold(_GARBAGE)  # as a service runs for months.
                scheduler.serve(stop, hangup, load, daily)
                demand.close(Deadline.after(clock, _PATIENCE))

    def remote(self, url: str, token_file: Path | None) -> "Remote":
        from orchestrator.client import Remote

        return Remote(url, _token(token_file), SystemClock())

    def tokens(self, path: Path) -> Tokens:
        return self._journal(self.settings(path)).tokens()

    def audit(self, path: Path) -> Audit:
        return self._journal(self.settings(path)).audit()

    def deeds(self, path: Path, limit: int) -> Sequence[Deed]:
        return self.audit(path).newest(limit)

    def coming(self, path: Path, count: int) -> Sequence[Coming]:
        settings = self.settings(path)
        return _coming(settings.jobs, self._journal(settings).schedules(), count)

    def report(self, path: Path, days: int, overdue: int) -> Report:
        settings, now = self.settings(path), SystemClock().now()
        statistics = self._journal(settings).statistics()
        since = now - timedelta(days=days)
        last_good = answers.last_good_of(settings.machines, statistics.last_good())
        return Report(
            since=since,
            unquiesced=statistics.unquiesced(since, _MOST_UNQUIESCED),
            frozen=statistics.frozen(since),
            last_good=last_good,
            overdue=answers.overdue(settings.machines, last_good, now - timedelta(days=overdue)),
        )

    def vacuum(self, path: Path) -> int:
        settings = self.settings(path)
        journal = self._journal(settings)
        forgotten = _forget(settings, journal)
        journal.statistics().vacuum()
        return forgotten

    def try_notices(self, path: Path) -> Sequence[Delivery]:
        from orchestrator.watching import try_notices

        return try_notices(self.settings(path).notices, path, SystemClock())

    def reload(self, path: Path) -> int:
        from orchestrator.scheduler.single import hang_up

        return hang_up(_service_file(self.settings(path)))


def _token(file: Path | None) -> str | None:
    """The token for a service: in that file, or in the environment."""
    if file is None:
        return os.environ.get("QUIESCE_TOKEN") or None
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {file} cannot be read: {error}") from None
    if not token.isprintable() or not token:
        raise ConfigError(f"--token-file {file} holds no token: it is one line, as `quiesce token create` showed it")
    return token


def _coming(jobs: Mapping[str, Job], schedules: Schedules, count: int) -> Sequence[Coming]:
    from orchestrator.scheduler import coming

    return coming(jobs.values(), schedules, SystemClock().now(), count)


def _forget(settings: Settings, journal: "SqlJournal") -> int:
    """Let the journal forget what it need not keep; return how many runs that were."""
    if settings.journal_keep is None:
        return 0
    before = SystemClock().now() - timedelta(seconds=settings.journal_keep)
    journal.audit().forget(before)
    return journal.statistics().forget(before)


def _backups(
    folders: Iterable[Path],
    memory: Path | None,
    machines: Mapping[str, Machine],
    journal: Callable[[], Journal] | None,
) -> Backups:
    from orchestrator.connections import RealConnections
    from orchestrator.images import QemuImages
    from orchestrator.repository import FolderRepository

    clock = SystemClock()
    images = QemuImages(clock)

    def domains(uri: str) -> Domains:
        from orchestrator.hypervisor.domains import LibvirtDomains

        return LibvirtDomains(uri, clock)

    return Backups(
        repositories=[FolderRepository(folder, memory) for folder in folders],
        machines=machines,
        images=images,
        domains=domains,
        examiner=Examiner(images, domains, RealConnections(clock).agent, clock),
        journal=journal,
        clock=clock,
    )


def _service_file(settings: Settings) -> Path:
    return _state_folder(settings.journal_url) / "service.pid"


def _state_folder(journal_url: str) -> Path:
    """Where this host's own state is: beside the journal's file, or where systemd, or the custom, has it."""
    from orchestrator.journal import folder

    state = os.environ.get("STATE_DIRECTORY", "/var/lib/quiesce").partition(":")[0]
    return folder(journal_url) or Path(state)
