"""Output for pipes and files: one line for each thing, which begins with its kind and goes on in `key=value` pairs.

Keys and their order are stable, absent and empty values are left out, and a value in quotes is a JSON string: so a
line can be searched with grep and taken apart safely, whatever a guest has put into it.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from orchestrator import documents
from orchestrator.acts import Answer
from orchestrator.answers import Report
from orchestrator.cli.streams import Stream
from orchestrator.escape import escape
from orchestrator.model import (
    Action,
    Checked,
    Coming,
    Deed,
    Delivery,
    ExecResult,
    Health,
    Job,
    Located,
    Machine,
    Outcome,
    Pausable,
    Pruned,
    Restored,
    Run,
    Sighting,
    Step,
    Token,
    Verified,
)

_ABSENT: tuple[object, ...] = (None, (), [], {})
_BARE = re.compile(r'[^\s"=]+')


class Plain:
    """Writes lines."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        #: How far each machine's long step was when it was last shown.
        self._percent: dict[tuple[str, Action], Any] = {}

    @contextmanager
    def following(self) -> Iterator[Callable[[Step], None]]:
        """Each step as it is made, and of one that takes long each percent."""
        yield self._follow

    def ended(self, run: Run) -> None:
        """How a run ended whose steps were followed."""
        summary = documents.summary(run)
        self._line("run", summary, skip={"targets"})
        for target in summary["targets"]:
            snapshot = (target["snapshot"] or {}).get("name")
            self._line("target", {**target, "snapshot": snapshot})

    def run(self, run: Run) -> None:
        """Everything about a run."""
        self.ended(run)
        for step in run.steps:
            self._step(step)

    def runs(self, runs: Sequence[Run]) -> None:
        for run in runs:
            machines = ",".join(target.machine.name for target in run.targets)
            self._line("run", {**documents.summary(run), "machines": machines}, skip={"targets"})

    def swept(self, runs: Sequence[Run], sightings: Sequence[Sighting]) -> None:
        self.runs(runs)
        for each in sightings:
            self._line("machine", documents.sighting(each))

    def machines(self, machines: Sequence[Machine]) -> None:
        for machine in machines:
            self._line("machine", documents.machine(machine))

    def jobs(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._line("job", documents.job(job))

    def health(self, reports: Sequence[Health]) -> None:
        for report in reports:
            self._line("machine", documents.health(report), skip={"filesystems", "problems", "hazards"})
            for filesystem in documents.health(report)["filesystems"]:
                self._line("filesystem", {"machine": report.machine, **filesystem})
            for problem in report.problems:
                self._line("problem", {"machine": report.machine, "text": problem})
            for hazard in report.hazards:
                self._line("hazard", {"machine": report.machine, "text": hazard})

    def checked(self, reports: Sequence[Checked]) -> None:
        for report in reports:
            self._line("repository", {"path": report.repository, "findings": len(report.findings)})
            for finding in documents.checked(report)["findings"]:
                self._line("finding", {"repository": report.repository, **finding})

    def restored(self, restored: Restored) -> None:
        document = documents.restored(restored)
        self._line("restored", document, skip={"disks"})
        for disk in document["disks"]:
            self._line("disk", disk)

    def snapshots(self, snapshots: Sequence[Located]) -> None:
        for each in snapshots:
            document = documents.located(each)
            self._line("snapshot", document, skip={"places"})
            for place in document["places"]:
                self._line("place", {"run": document["run"], "machine": document["machine"], **place})

    def pruned(self, pruned: Sequence[Pruned]) -> None:
        for each in pruned:
            self._line("snapshot", documents.pruned(each))

    def answer(self, answer: Answer) -> None:
        for row in documents.rows(answer.value):
            self._line(answer.question, {"machine": answer.machine, **row})

    def executed(self, run: Run, result: ExecResult) -> None:
        """The program's output alone: it may be piped on."""
        self._stream.pass_on(result.output)

    def verified(self, verified: Verified) -> None:
        document = documents.verified(verified)
        self._line("verified", document, skip={"filesystems", "problems"})
        for filesystem in document["filesystems"]:
            self._line("filesystem", filesystem)
        for problem in document["problems"]:
            self._line("problem", {"text": problem})

    def initialized(self, path: str, domains: Sequence[str]) -> None:
        self._line("configuration", {"written": path, "domains": list(domains)})

    def upgraded(self, before: str | None, after: str) -> None:
        self._line("journal", {"from": before, "to": after})

    def coming(self, jobs: Sequence[Coming]) -> None:
        for job in jobs:
            self._line("job", documents.coming(job))

    def paused(self, kind: Pausable, name: str, *, paused: bool, changed: bool) -> None:
        self._line(kind, {"name": name, "paused": paused, "changed": changed})

    def token(self, token: Token, secret: str) -> None:
        self._line("token", {**documents.token(token), "secret": secret})

    def tokens(self, tokens: Sequence[Token], now: datetime) -> None:
        for token in tokens:
            self._line("token", {**documents.token(token), "holds": token.holds(now)})

    def revoked(self, token: str) -> None:
        self._line("token", {"revoked": token})

    def deeds(self, deeds: Sequence[Deed]) -> None:
        for deed in deeds:
            self._line("deed", documents.deed(deed))

    def report(self, report: Report) -> None:
        document = documents.report(report)
        for kind in ("unquiesced", "frozen", "last_good"):
            for row in document[kind]:
                self._line(kind, row)
        for machine in report.overdue:
            self._line("overdue", {"machine": machine})

    def forgotten(self, runs: int) -> None:
        self._line("journal", {"forgotten": runs})

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        for each in deliveries:
            self._line("notice", documents.delivery(each))

    def reloading(self, pid: int) -> None:
        self._line("service", {"reloading": pid})

    def stopped(self) -> None:
        """Nothing: who follows a service's output sees its end."""

    def failed(self, error: Mapping[str, str]) -> None:
        """Nothing: the text is on standard error."""

    def _follow(self, step: Step) -> None:
        percent = step.figures.get("percent") if step.outcome is Outcome.INTENT else None
        before, self._percent[step.machine, step.action] = self._percent.get((step.machine, step.action)), percent
        if percent is None or percent != before:
            self._step(step)

    def _step(self, step: Step) -> None:
        document = documents.step(step)
        figures, error = document.pop("figures"), document.pop("error")
        del document["monotonic"]
        scalars = [(key, value) for key, value in figures.items() if not isinstance(value, Mapping | list)]
        self._write("step", [*document.items(), *scalars, ("error", error)])

    def _line(self, kind: str, document: Mapping[str, Any], skip: Iterable[str] = ()) -> None:
        self._write(kind, [(key, value) for key, value in document.items() if key not in set(skip)])

    def _write(self, kind: str, pairs: Iterable[tuple[str, Any]]) -> None:
        words = [kind, *(f"{escape(key)}={_word(value)}" for key, value in pairs if value not in _ABSENT)]
        self._stream.write(" ".join(words) + "\n")


def _word(value: object) -> str:
    """A value without spaces outside of quotes."""
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    text = escape(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
