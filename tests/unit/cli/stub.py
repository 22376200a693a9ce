"""The rest of the product, as the command line's tests see it: it answers what it was given."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from typer.testing import CliRunner, Result

from orchestrator.acts import Answer, PowerRequest, Question, Scope
from orchestrator.answers import Frozen, LastGood, Report, Unquiesced
from orchestrator.cli import make_app
from orchestrator.clock import Bell, Stop
from orchestrator.model import (
    Action,
    Checked,
    Coming,
    Consistency,
    Deed,
    Delivery,
    ExaminedFilesystem,
    ExecResult,
    Filesystem,
    FreezeStatus,
    Health,
    ImageFormat,
    Job,
    Located,
    Machine,
    Outcome,
    Owner,
    Pausable,
    Power,
    Pruned,
    Restored,
    RestoredDisk,
    Run,
    Sight,
    Sighting,
    State,
    Step,
    Target,
    Trigger,
    Verified,
    Verify,
    Wanted,
)
from orchestrator.ports import Observer
from tests.backups import backup
from tests.fakes.access import MemoryAudit, MemoryTokens
from tests.fakes.schedules import MemorySchedules

T = TypeVar("T")

AT = datetime(2025, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
DB1 = Machine("db1", hypervisor="qemu:///system", domain="db1")
NIGHTLY = Job("nightly", ("db1",), "external-snapshot", schedule="0 2 * * *")
FREEZE = Step("db1", Action.FREEZE, Outcome.DONE, AT, 10.5, duration_ms=12.34567, figures={"sent": True, "frozen": 2})
DONE = Run(
    id="20250102-030405-abcdef",
    job=NIGHTLY,
    trigger=Trigger.MANUAL,
    owner=Owner("host", "boot", 1, 1),
    started_at=AT,
    finished_at=AT,
    targets=(Target(DB1, State.DONE, Consistency.FILESYSTEM, 98.7654321, 40.0, {"name": "quiesce-r1", "disks": []}),),
    state=State.DONE,
    consistency=Consistency.FILESYSTEM,
    steps=(FREEZE,),
)
REPORT = Report(
    since=AT,
    unquiesced=[Unquiesced("r1", "nightly", "db1", AT, State.DONE, "=no\nanswer")],
    frozen=[Frozen("db1", 3, 90.5, 120.25)],
    last_good=[LastGood("edge1"), LastGood("db1", "r2", AT)],
    overdue=["edge1"],
)
READY = Health("db1", Power.RUNNING, "7.2.0", FreezeStatus.THAWED, (Filesystem("/", "vda1", "ext4"),))

RESTORED = Restored(
    backup("20250102-030405-abcdef"), "/backups", (RestoredDisk("vda", "/to/vda.raw", ImageFormat.RAW),), "db2", "uuid"
)

VERIFIED = Verified(
    RESTORED.backup, "/backups", Verify.FILESYSTEM, (ExaminedFilesystem("vda", 1048576, "ext4", True, False),), ()
)


def ended(state: State, error: str | None, *steps: Step) -> Run:
    """The run, ended otherwise."""
    target = replace(DONE.targets[0], state=state, error=error, consistency=Consistency.NONE, snapshot=None)
    return replace(DONE, state=state, consistency=Consistency.NONE, targets=(target,), steps=steps)


@dataclass
class Stub:
    """A wire, its settings and its service in one."""

    runs: tuple[Run, ...] = (DONE,)
    reports: Mapping[str, Health] = field(default_factory=lambda: {"db1": READY})
    checked: tuple[Checked, ...] = (Checked("/backups", ()),)
    restored: Restored = RESTORED
    verified: Verified = VERIFIED
    sightings: tuple[Sighting, ...] = (Sighting("db1", Sight.THAWED),)
    error: Exception | None = None
    machines: Mapping[str, Machine] = field(default_factory=lambda: {"db1": DB1})
    jobs: Mapping[str, Job] = field(default_factory=lambda: {"nightly": NIGHTLY})
    pruned: tuple[Pruned, ...] = ()
    deliveries: tuple[Delivery, ...] = (Delivery("q.toml: notices.urls[0] (json)"),)
    located: tuple[Located, ...] = ()
    #: What the agent answers, and how a program ends.
    value: object = None
    result: ExecResult | None = None
    given: MemoryTokens = field(default_factory=MemoryTokens)
    audited: MemoryAudit = field(default_factory=MemoryAudit)
    remembered: MemorySchedules = field(default_factory=MemorySchedules)
    #: What the command line asked for.
    asked: list[object] = field(default_factory=list)

    def settings(self, path: Path) -> "Stub":
        return self._answer(self, path)

    def service(self, path: Path) -> "Stub":
        self.asked.append(path)
        return self

    def backups(self, path: Path, repository: Path | None) -> "StubBackups":
        return self._answer(StubBackups(self), repository or path)

    def operating(self, path: Path) -> "Stub":
        self.asked.append(path)
        return self

    @property
    def asking(self) -> "Stub":
        return self

    @property
    def channelling(self) -> "Channels":
        return Channels(self)

    @property
    def powering(self) -> "Stub":
        return self

    def power(
        self,
        machine: str,
        request: PowerRequest,
        wait: float,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> Run:
        return self._answer(self.runs[0], machine, request, wait)

    def ask(self, machine: str, question: Question) -> Answer:
        return self._answer(Answer(machine, question, DONE.id, self.value), machine, question)

    def trim(self, machine: str) -> tuple[Run, Answer | None]:
        return self._answer((self.runs[0], self._answered("trim")), machine)

    def raw(self, machine: str, request: str) -> tuple[Run, Answer | None]:
        return self._answer((self.runs[0], self._answered("guest-ping")), machine, request)

    def execute(
        self, machine: str, words: Sequence[str], limit: float, stop: Stop | None = None
    ) -> tuple[Run, ExecResult | None]:
        return self._answer((self.runs[0], self.result), machine, *words, limit)

    def _answered(self, question: str) -> Answer | None:
        return Answer("db1", question, DONE.id, self.value) if self.runs[0].state is State.DONE else None

    def init(self, path: Path, uri: str) -> tuple[str, ...]:
        return self._answer(("db1",), path, uri)

    def upgrade(self, path: Path) -> tuple[str | None, str]:
        return self._answer((None, "0001"), path)

    def serve(self, path: Path, stop: Stop, hangup: Bell) -> None:
        self._answer(None, path)

    def schedules(self, path: Path) -> MemorySchedules:
        return self._answer(self.remembered, path)

    def tokens(self, path: Path) -> MemoryTokens:
        return self._answer(self.given, path)

    def audit(self, path: Path) -> MemoryAudit:
        return self._answer(self.audited, path)

    def deeds(self, path: Path, limit: int) -> Sequence[Deed]:
        return self._answer(self.audited.newest(limit), path)

    def remote(self, url: str, token_file: Path | None) -> "Stub":
        return self._answer(self, url, token_file)

    def coming(self, path: Path, count: int) -> Sequence[Coming]:
        paused = self.remembered.paused.get((Pausable.JOB, "nightly"))
        return self._answer([Coming("nightly", (AT,) * count, paused)], path)

    def report(self, path: Path, days: int, overdue: int) -> Report:
        return self._answer(REPORT, path, days, overdue)

    def vacuum(self, path: Path) -> int:
        return self._answer(3, path)

    def try_notices(self, path: Path) -> Sequence[Delivery]:
        return self._answer(self.deliveries, path)

    def reload(self, path: Path) -> int:
        return self._answer(4711, path)

    def run(
        self, job: str, *, machine: str | None = None, observer: Observer | None = None, stop: Stop | None = None
    ) -> Run:
        self._show_steps(observer)
        return self._answer(self.runs[0], job, machine)

    def prune(
        self,
        job: str | None = None,
        *,
        machine: str | None = None,
        dry_run: bool = False,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> tuple[Pruned, ...]:
        return self._answer(self.pruned, "prune", job, machine, dry_run)

    def snapshots(self, machine: str | None = None) -> tuple[Located, ...]:
        return self._answer(self.located, "snapshots", machine)

    def recover(self, observer: Observer | None = None) -> tuple[Run, ...]:
        self._show_steps(observer)
        return self._answer(self.runs)

    def sweep(self, observer: Observer | None = None) -> tuple[tuple[Run, ...], tuple[Sighting, ...]]:
        self._show_steps(observer)
        return self._answer((self.runs, self.sightings))

    def thaw(
        self, machine: str, *, force: bool = False, reason: str | None = None, observer: Observer | None = None
    ) -> Run:
        self._show_steps(observer)
        return self._answer(self.runs[0], machine, force, reason)

    def check(self, machine: str) -> Health:
        return self._answer(self.reports[machine], machine)

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]:
        return self._answer(self.runs, limit, job, machine, state)

    def show(self, run_id: str) -> Run:
        return self._answer(self.runs[0], run_id)

    def _show_steps(self, observer: Observer | None) -> None:
        assert observer is not None
        for step in self.runs[0].steps:
            observer(step)

    def _answer(self, answer: T, *asked: object) -> T:
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return answer


class StubBackups:
    """The stub's use cases of backups."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub

    def check(self) -> tuple[Checked, ...]:
        return self._stub.checked

    def restore(
        self,
        wanted: Wanted,
        to: Path,
        *,
        disk: str | None = None,
        form: ImageFormat = ImageFormat.QCOW2,
        force: bool = False,
        define: str | None = None,
    ) -> Restored:
        self._stub.asked.append((wanted, to, disk, form, force, define))
        return self._stub.restored

    def verify(self, wanted: Wanted, verify: Verify, observer: Observer | None = None) -> Verified:
        self._stub.asked.append((wanted, verify))
        return self._stub.verified


@dataclass
class Channels:
    """The stub's channels, which have a `show` of their own."""

    stub: Stub

    def show(self, machine: str) -> Answer:
        self.stub.asked.append(("show", machine))
        return Answer(machine, "channel", DONE.id, self.stub.value)

    def add(
        self, machine: str, name: str, path: str | None, scopes: Collection[Scope], observer: Observer | None = None
    ) -> Run:
        self.stub.asked.append(("add", machine, name, path, scopes))
        return self.stub.runs[0]

    def remove(self, machine: str, name: str, scopes: Collection[Scope], observer: Observer | None = None) -> Run:
        self.stub.asked.append(("remove", machine, name, scopes))
        return self.stub.runs[0]


def quiesce(stub: Stub, *arguments: str) -> Result:
    """Call the command line in this process, its output going to no terminal."""
    return CliRunner().invoke(make_app(stub), ["--config", "some.toml", *arguments])
