"""Output for a terminal: tables, and the steps of a run while they are made.

Every text becomes a `Text` of escaped characters, so that neither a guest's escape sequences nor its square brackets
are taken for anything but text.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TextIO, cast

from rich import box
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Column, Table
from rich.text import Text

from orchestrator import documents
from orchestrator.acts import Answer
from orchestrator.answers import Report
from orchestrator.cli.streams import Stream
from orchestrator.escape import escape
from orchestrator.model import (
    Checked,
    Coming,
    Deed,
    Delivery,
    ExecResult,
    Fate,
    Health,
    Job,
    Located,
    Machine,
    Outcome,
    Pausable,
    Pruned,
    Restored,
    Run,
    Sight,
    Sighting,
    State,
    Step,
    Token,
    Verified,
)

_STATES = {
    State.STUCK: "bold white on red",
    State.FAILED: "red",
    State.REFUSED: "yellow",
    State.CANCELLED: "yellow",
    State.DONE: "green",
}
_FATES = {Fate.KEPT: "green", Fate.FAILED: "red"}
_SIGHTS = {Sight.STUCK: "bold white on red", Sight.FOREIGN: "red", Sight.SILENT: "yellow", Sight.THAWED: "green"}
_OUTCOMES = {Outcome.DONE: "green", Outcome.FAILED: "red", Outcome.UNKNOWN: "yellow"}


class Screen:
    """Draws tables."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._console = Console(file=cast(TextIO, stream))

    @contextmanager
    def following(self) -> Iterator[Callable[[Step], None]]:
        """A line for each step that ended, and below them what is being done now."""
        now: dict[str, str] = {}
        spinner = Spinner("line")
        live = Live(spinner, console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False)

        def show(step: Step) -> None:
            live.start()  # once; a service that runs for weeks without a step draws nothing
            if step.outcome is Outcome.INTENT:
                now[step.machine] = f"{step.action}{_how_far(step.figures)}"
            else:
                now.pop(step.machine, None)
                self._console.print(_step_line(step))
            doing = ", ".join(f"{machine} {what}" for machine, what in now.items())
            spinner.update(text=Text(escape(doing, limit=self._console.width - 4)))

        try:
            yield show
        finally:
            live.stop()

    def ended(self, run: Run) -> None:
        self._console.print(_run_line(run))
        rows = (
            (
                target.machine.name,
                _state(target.state),
                target.consistency,
                _milliseconds(target.window_ms),
                _milliseconds(target.hold_ms),
                target.error,
            )
            for target in run.targets
        )
        self._table(("machine", "state", "consistency", "window", "hold", "error"), rows)

    def run(self, run: Run) -> None:
        self.ended(run)
        rows = (
            (
                documents.timestamp(step.at),
                step.machine,
                step.action,
                Text(step.outcome, _OUTCOMES.get(step.outcome, "")),
                _milliseconds(step.duration_ms),
                step.error or _pairs(step.figures),
            )
            for step in run.steps
        )
        self._table(("at", "machine", "action", "outcome", "took", "figures or error"), rows)

    def runs(self, runs: Sequence[Run]) -> None:
        rows = (
            (
                run.id,
                _state(run.state),
                run.job.name if run.job else "",
                ", ".join(target.machine.name for target in run.targets),
                run.consistency,
                Text(f"{run.started_at:%Y-%m-%d %H:%M}", no_wrap=True),
                _milliseconds(run.window_ms),
                run.error,
            )
            for run in runs
        )
        self._table(("run", "state", "job", "machines", "consistency", "started (UTC)", "window", "error"), rows)

    def swept(self, runs: Sequence[Run], sightings: Sequence[Sighting]) -> None:
        if runs:
            self.runs(runs)
        rows = ((each.machine, Text(each.saw, _SIGHTS.get(each.saw, "")), each.run, each.detail) for each in sightings)
        self._table(("machine", "seen", "run", "detail"), rows)

    def machines(self, machines: Sequence[Machine]) -> None:
        rows = ((m.name, m.hypervisor, m.domain, m.agent, m.qmp) for m in machines)
        self._table(("machine", "hypervisor", "domain", "agent", "qmp"), rows)

    def jobs(self, jobs: Sequence[Job]) -> None:
        rows = (
            (
                j.name,
                ", ".join(j.machines),
                j.driver,
                j.schedule or (f"every {j.every:g} s" if j.every else ""),
                j.quiesce,
            )
            for j in jobs
        )
        self._table(("job", "machines", "driver", "schedule", "quiesce"), rows)

    def health(self, reports: Sequence[Health]) -> None:
        rows = (
            (
                report.machine,
                Text("ready", "green") if report.ready else Text("not ready", "red"),
                report.power,
                report.agent_version,
                report.freeze_status,
                ", ".join(filesystem.mountpoint for filesystem in report.filesystems),
                "; ".join((*report.problems, *report.hazards)),
            )
            for report in reports
        )
        self._table(("machine", "", "power", "agent", "status", "file systems", "problems and hazards"), rows)

    def checked(self, reports: Sequence[Checked]) -> None:
        for report in reports:
            self._console.print(Text(escape(f"{report.repository}: {len(report.findings)} findings")))
            rows = ((Text(each.flaw, "red"), each.path, each.text) for each in report.findings)
            if report.findings:
                self._table(("", "where", "what"), rows)

    def restored(self, restored: Restored) -> None:
        backup = restored.backup
        self._console.print(
            Text(f"{escape(backup.machine)} as of {backup.cut_at:%Y-%m-%d %H:%M:%S} UTC, {backup.consistency}")
        )
        self._table(("disk", "file"), ((disk.name, disk.path) for disk in restored.disks))
        if restored.domain is not None:
            self._console.print(Text(escape(f"defined as the domain {restored.domain}, not started")))

    def snapshots(self, snapshots: Sequence[Located]) -> None:
        rows = (
            (
                each.snapshot.run.id,
                each.snapshot.machine.name,
                Text(f"{each.snapshot.created_at:%Y-%m-%d %H:%M}", no_wrap=True),
                each.snapshot.run.target(each.snapshot.machine.name).consistency,
                "; ".join(f"{place.disk}: {place.path}" for place in each.places) or each.error,
                "" if not each.places else f"{sum(place.size_bytes or 0 for place in each.places) / 2**20:.1f} MiB",
                "; ".join(place.stands_on for place in each.places if place.stands_on),
            )
            for each in snapshots
        )
        self._table(("run", "machine", "made (UTC)", "consistency", "file", "size", "stands on"), rows)

    def pruned(self, pruned: Sequence[Pruned]) -> None:
        rows = (
            (
                each.snapshot.run.id,
                each.snapshot.machine.name,
                Text(each.fate, _FATES.get(each.fate, "yellow")),
                Text(f"{each.snapshot.created_at:%Y-%m-%d %H:%M}", no_wrap=True),
                "; ".join((*each.reasons, *([each.error] if each.error else []))),
            )
            for each in pruned
        )
        self._table(("run", "machine", "", "made (UTC)", "why"), rows)

    def answer(self, answer: Answer) -> None:
        """One object as lines of its members, several as a table."""
        found = documents.rows(answer.value)
        if isinstance(answer.value, list):
            columns = tuple(dict.fromkeys(key for row in found for key in row))
            if columns:
                self._table(columns, ([_cell(row.get(key)) for key in columns] for row in found))
        else:
            self._table((answer.question, answer.machine), ((key, _cell(value)) for key, value in found[0].items()))

    def executed(self, run: Run, result: ExecResult) -> None:
        """The program's output alone."""
        self._stream.pass_on(result.output)

    def verified(self, verified: Verified) -> None:
        backup = verified.backup
        trust = Text("not to be trusted", "bold red") if verified.problems else Text("as it should be", "green")
        self._console.print(Text.assemble(f"{escape(backup.machine)} of {escape(backup.run_id)}: ", trust))
        if verified.filesystems:
            names = {True: "clean", False: "DAMAGED", None: "not checked"}
            rows = ((f"{each.disk} at {each.offset}", each.type, names[each.clean]) for each in verified.filesystems)
            self._table(("where", "file system", ""), rows)
        if verified.boot_seconds is not None:
            self._console.print(Text(f"it boots: the agent answered after {verified.boot_seconds:.0f} s"))

    def initialized(self, path: str, domains: Sequence[str]) -> None:
        self._console.print(
            Text(f"{escape(path)} is written, with {len(domains)} machines: read it, then quiesce check")
        )

    def upgraded(self, before: str | None, after: str) -> None:
        self._console.print(Text(f"journal: {escape(before or 'empty')} -> {escape(after)}"))

    def coming(self, jobs: Sequence[Coming]) -> None:
        rows = (
            (job.job, Text("paused", "yellow") if job.pause else "", "\n".join(map(documents.timestamp, job.times)))
            for job in jobs
        )
        self._table(("job", "", "due (UTC)"), rows)

    def paused(self, kind: Pausable, name: str, *, paused: bool, changed: bool) -> None:
        words = ("is now paused", "is already paused") if paused else ("is resumed", "was not paused")
        self._console.print(Text(f"{kind} {escape(name)} {words[not changed]}"))

    def token(self, token: Token, secret: str) -> None:
        self._console.print(
            Text(f"token {escape(token.name)}, {token.role}. Keep its secret, which is not shown again:")
        )
        self._console.print(Text(secret), soft_wrap=True)

    def tokens(self, tokens: Sequence[Token], now: datetime) -> None:
        rows = (
            (
                token.name,
                token.role,
                "" if token.holds(now) else Text("ended", "yellow"),
                documents.timestamp(token.expires_at) if token.expires_at else "never",
                token.created_by,
            )
            for token in tokens
        )
        self._table(("token", "role", "", "expires (UTC)", "made by"), rows)

    def revoked(self, token: str) -> None:
        self._console.print(Text(f"token {escape(token)} holds no longer"))

    def deeds(self, deeds: Sequence[Deed]) -> None:
        rows = (
            (documents.timestamp(deed.at), deed.who, deed.origin, deed.act, deed.subject, str(deed.status))
            for deed in deeds
        )
        self._table(("at (UTC)", "who", "from", "what", "about", "status"), rows)

    def report(self, report: Report) -> None:
        late = set(report.overdue)
        self._table(
            ("machine", "", "last good run", "at (UTC)"),
            (
                (
                    each.machine,
                    Text("overdue", "red") if each.machine in late else "",
                    each.run or "never",
                    documents.timestamp(each.at) if each.at else "",
                )
                for each in report.last_good
            ),
        )
        self._table(
            ("not quiesced", "run", "job", "state", "at (UTC)", "why"),
            (
                (each.machine, each.run, each.job, _state(each.state), documents.timestamp(each.at), each.why)
                for each in report.unquiesced
            ),
        )
        self._table(
            ("frozen", "windows", "mean", "longest"),
            (
                (each.machine, str(each.windows), _milliseconds(each.mean_ms), _milliseconds(each.longest_ms))
                for each in report.frozen
            ),
        )

    def forgotten(self, runs: int) -> None:
        self._console.print(Text(f"{runs} runs are forgotten"))

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        for each in deliveries:
            became = "sent" if each.error is None else escape(each.error)
            self._console.print(Text(f"{escape(each.address)}: {became}", "red" if each.error else ""))

    def reloading(self, pid: int) -> None:
        self._console.print(Text(f"the service (process {pid}) reads its configuration again"))

    def stopped(self) -> None:
        """Nothing: who started it at this terminal sees its end."""

    def failed(self, error: Mapping[str, str]) -> None:
        """Nothing: the text is on standard error."""

    def _table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text | None]]) -> None:
        table = Table(Column(columns[0], no_wrap=True), *columns[1:], box=box.SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(cell if isinstance(cell, Text) else Text(escape(cell or "")) for cell in row))
        self._console.print(table)


def _cell(value: object) -> str:
    """A JSON value in a cell."""
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
        case _:
            return json.dumps(value)


def _run_line(run: Run) -> Text:
    job = f" of job {escape(run.job.name)}" if run.job else ""
    return Text.assemble(f"run {escape(run.id)}{job}: ", _state(run.state))


def _step_line(step: Step) -> Text:
    style = _OUTCOMES.get(step.outcome, "")
    took = _milliseconds(step.duration_ms)
    more = escape(step.error or _pairs(step.figures))
    return Text.assemble(f"{escape(step.machine)} {step.action} ", (step.outcome, style), f" {took} {more}")


def _how_far(figures: Mapping[str, object]) -> str:
    """How far something is that takes long, or nothing."""
    percent, rate, left = (figures.get(key) for key in ("percent", "bytes_per_second", "seconds_left"))
    if not isinstance(percent, int) or not isinstance(rate, int):
        return ""
    remaining = f", {timedelta(seconds=left)} left" if isinstance(left, int) else ""
    return f" {percent} % at {rate / (1 << 20):.1f} MiB/s{remaining}"


def _state(state: State) -> Text:
    return Text(state.upper() if state is State.STUCK else state, _STATES.get(state, ""))


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} ms"


def _pairs(figures: Mapping[str, object]) -> str:
    """The figures that fit a line: numbers and words, and not the plans and descriptions of drivers."""
    return " ".join(f"{key}={value}" for key, value in figures.items() if isinstance(value, str | int | float))
