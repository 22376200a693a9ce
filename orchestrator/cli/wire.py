"""What the command line needs from the rest of the product. `main` hands it in; nothing here knows adapters."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.acts import Answer, PowerRequest, Question, Scope
from orchestrator.answers import Report
from orchestrator.clock import Bell, Stop
from orchestrator.model import (
    Checked,
    Coming,
    Deed,
    Delivery,
    ExecResult,
    Health,
    ImageFormat,
    Located,
    Pausable,
    Pause,
    Pruned,
    Restored,
    Run,
    Sighting,
    State,
    Verified,
    Verify,
    Wanted,
)
from orchestrator.ports import Audit, Configured, Observer, Tokens


class Service(Protocol):
    """The use cases, as `orchestrator.service.Service` documents them."""

    def run(
        self, job: str, *, machine: str | None = None, observer: Observer | None = None, stop: Stop | None = None
    ) -> Run: ...

    def prune(
        self,
        job: str | None = None,
        *,
        machine: str | None = None,
        dry_run: bool = False,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> tuple[Pruned, ...]: ...

    def snapshots(self, machine: str | None = None) -> tuple[Located, ...]: ...

    def recover(self, observer: Observer | None = None) -> tuple[Run, ...]: ...

    def sweep(self, observer: Observer | None = None) -> tuple[tuple[Run, ...], tuple[Sighting, ...]]: ...

    def thaw(
        self, machine: str, *, force: bool = False, reason: str | None = None, observer: Observer | None = None
    ) -> Run: ...

    def check(self, machine: str) -> Health: ...

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]: ...

    def show(self, run_id: str) -> Run: ...


class Backups(Protocol):
    """The use cases of backups, as `orchestrator.backups.Backups` documents them."""

    def check(self) -> tuple[Checked, ...]: ...

    def restore(
        self,
        wanted: Wanted,
        to: Path,
        *,
        disk: str | None = None,
        form: ImageFormat = ImageFormat.QCOW2,
        force: bool = False,
        define: str | None = None,
    ) -> Restored: ...

    def verify(self, wanted: Wanted, verify: Verify, observer: Observer | None = None) -> Verified: ...


class Asking(Protocol):
    """The agent itself, as `orchestrator.operating.Asking` documents it."""

    def ask(self, machine: str, question: Question) -> Answer: ...

    def trim(self, machine: str) -> tuple[Run, Answer | None]: ...

    def execute(
        self, machine: str, words: Sequence[str], limit: float, stop: Stop | None = None
    ) -> tuple[Run, ExecResult | None]: ...

    def raw(self, machine: str, request: str) -> tuple[Run, Answer | None]: ...


class Powering(Protocol):
    """A machine's power, as `orchestrator.operating.power.Powering` documents it."""

    def power(
        self,
        machine: str,
        request: PowerRequest,
        wait: float,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> Run: ...


class Channelling(Protocol):
    """A machine's channels, as `orchestrator.operating.channels.Channelling` documents them."""

    def show(self, machine: str) -> Answer: ...

    def add(
        self, machine: str, name: str, path: str | None, scopes: Collection[Scope], observer: Observer | None = None
    ) -> Run: ...

    def remove(self, machine: str, name: str, scopes: Collection[Scope], observer: Observer | None = None) -> Run: ...


class Operating(Protocol):
    """What an operator does to one machine by hand."""

    @property
    def channelling(self) -> Channelling: ...

    @property
    def powering(self) -> Powering: ...

    @property
    def asking(self) -> Asking: ...


class Pausing(Protocol):
    """What scheduled runs leave alone, as `ports.Schedules` documents it."""

    def pause(self, pause: Pause) -> bool: ...

    def resume(self, kind: Pausable, name: str) -> bool: ...


class Wire(Protocol):
    """Makes what a command asks for, from the configuration file at `path`. All raise ConfigError."""

    def settings(self, path: Path) -> Configured:
        """The configuration. Connects to nothing."""
        ...

    def service(self, path: Path) -> Service:
        """The use cases over the configured journal. Raises JournalError."""
        ...

    def backups(self, path: Path, repository: Path | None) -> Backups:
        """The use cases over all repositories of the configuration, or, without reading it, over that one."""

    def operating(self, path: Path) -> Operating:
        """An operator's acts over the configured journal. Raises JournalError."""
        ...

    def init(self, path: Path, uri: str) -> tuple[str, ...]:
        """Write a first configuration for the domains at a libvirt `uri`, and return their names. Raises CallError."""
        ...

    def upgrade(self, path: Path) -> tuple[str | None, str]:
        """Bring the journal's schema up to date; return its revision before and after. Raises JournalError."""
        ...

    def serve(self, path: Path, stop: Stop, hangup: Bell) -> None:
        """Run the daemon until `stop` is requested, and read the file again when `hangup` rings. Raises JournalError,
        and Refused when there is one for this journal on this host already.
        """
        ...

    def schedules(self, path: Path) -> Pausing:
        """What is kept from scheduled runs. Raises JournalError."""
        ...

    def tokens(self, path: Path) -> Tokens:
        """Who may ask over HTTP. Raises JournalError."""
        ...

    def audit(self, path: Path) -> Audit:
        """Where it is written down who changed what. Raises JournalError."""
        ...

    def deeds(self, path: Path, limit: int) -> Sequence[Deed]:
        """Who changed what, and from where: the newest first. Raises JournalError."""
        ...

    def coming(self, path: Path, count: int) -> Sequence[Coming]:
        """When each job that has a schedule is due, the next `count` times. Raises JournalError."""
        ...

    def report(self, path: Path, days: int, overdue: int) -> Report:
        """What became of all machines in the last `days`; those without a good run for `overdue` days are overdue.

        Raises JournalError.
        """
        ...

    def vacuum(self, path: Path) -> int:
        """Forget what `[journal] keep` lets go, and return how many runs that were. Raises JournalError."""
        ...

    def try_notices(self, path: Path) -> Sequence[Delivery]:
        """Send a message to each configured address, and return what became of it. Raises ConfigError when there is
        none.
        """
        ...

    def reload(self, path: Path) -> int:
        """Let the daemon read its file again; return its process id. Raises NotFound when there is none."""
        ...


class Remotely(Wire, Protocol):
    """A wire that can also reach a service."""

    def remote(self, url: str, token_file: Path | None) -> Wire:
        """The same from the service at `url`, with the token in that file or in the environment. Raises ConfigError."""
        ...
