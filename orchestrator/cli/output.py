"""Where results go: one JSON document, lines for a pipe, or tables for a terminal."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Protocol

from orchestrator import documents
from orchestrator.acts import Answer
from orchestrator.answers import Report
from orchestrator.cli.plain import Plain
from orchestrator.cli.streams import Stream
from orchestrator.model import (
    Checked,
    Coming,
    Deed,
    Delivery,
    ExecResult,
    Health,
    Job,
    Located,
    Machine,
    Pausable,
    Pruned,
    Restored,
    Run,
    Sighting,
    Step,
    Token,
    Verified,
)


class Output(Protocol):
    """What a command has to show. Each command shows one result, after the steps that led to it."""

    def following(self) -> AbstractContextManager[Callable[[Step], None]]:
        """Show steps as they are made, each through the function that is given to the `with` block."""
        ...

    def ended(self, run: Run) -> None:
        """How a run ended whose steps were followed."""
        ...

    def run(self, run: Run) -> None:
        """Everything about a run."""
        ...

    def runs(self, runs: Sequence[Run]) -> None: ...

    def swept(self, runs: Sequence[Run], sightings: Sequence[Sighting]) -> None:
        """What was recovered, and what was seen of each machine then."""
        ...

    def machines(self, machines: Sequence[Machine]) -> None: ...

    def jobs(self, jobs: Sequence[Job]) -> None: ...

    def health(self, reports: Sequence[Health]) -> None: ...

    def checked(self, reports: Sequence[Checked]) -> None: ...

    def restored(self, restored: Restored) -> None: ...

    def snapshots(self, snapshots: Sequence[Located]) -> None: ...

    def pruned(self, pruned: Sequence[Pruned]) -> None: ...

    def answer(self, answer: Answer) -> None:
        """What a machine answered to its operator."""
        ...

    def executed(self, run: Run, result: ExecResult) -> None:
        """How a program in a guest ended, and what it wrote on its standard output."""
        ...

    def verified(self, verified: Verified) -> None: ...

    def initialized(self, path: str, domains: Sequence[str]) -> None:
        """A first configuration was written, with these domains as machines."""
        ...

    def upgraded(self, before: str | None, after: str) -> None:
        """The journal's revision before and after."""
        ...

    def coming(self, jobs: Sequence[Coming]) -> None:
        """When jobs are due."""
        ...

    def paused(self, kind: Pausable, name: str, *, paused: bool, changed: bool) -> None:
        """Whether something is paused now, and was not before, or the other way round."""
        ...

    def token(self, token: Token, secret: str) -> None:
        """A new token, with the secret that nobody can show again."""
        ...

    def tokens(self, tokens: Sequence[Token], now: datetime) -> None:
        """All tokens, of which some hold no longer."""
        ...

    def revoked(self, token: str) -> None:
        """A token holds no longer."""
        ...

    def deeds(self, deeds: Sequence[Deed]) -> None:
        """Who changed what."""
        ...

    def report(self, report: Report) -> None:
        """What the history says about all machines."""
        ...

    def forgotten(self, runs: int) -> None:
        """So many runs are no longer in the journal."""
        ...

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        """What became of a message at each address."""
        ...

    def reloading(self, pid: int) -> None:
        """The daemon with that process id was asked to read its configuration again."""
        ...

    def stopped(self) -> None:
        """The daemon has ended because it was asked to."""
        ...

    def failed(self, error: Mapping[str, str]) -> None:
        """There is no result; the error's text is on standard error already."""
        ...


def choose(stream: Stream, *, as_json: bool) -> Output:
    """The output for that stream."""
    if as_json:
        return Json(stream)
    if stream.isatty():
        from orchestrator.cli.screen import Screen  # Rich takes its time to load, and only a terminal needs it

        return Screen(stream)
    return Plain(stream)


class Json:
    """Exactly one document, in ASCII: whatever a guest said cannot reach a terminal as a control character."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @contextmanager
    def following(self) -> Iterator[Callable[[Step], None]]:
        yield lambda step: None

    def ended(self, run: Run) -> None:
        self.run(run)

    def run(self, run: Run) -> None:
        self._write(documents.run(run))

    def runs(self, runs: Sequence[Run]) -> None:
        self._write([documents.summary(run) for run in runs])

    def swept(self, runs: Sequence[Run], sightings: Sequence[Sighting]) -> None:
        machines = [documents.sighting(each) for each in sightings]
        self._write({"runs": [documents.summary(run) for run in runs], "machines": machines})

    def machines(self, machines: Sequence[Machine]) -> None:
        self._write([documents.machine(machine) for machine in machines])

    def jobs(self, jobs: Sequence[Job]) -> None:
        self._write([documents.job(job) for job in jobs])

    def health(self, reports: Sequence[Health]) -> None:
        self._write([documents.health(report) for report in reports])

    def checked(self, reports: Sequence[Checked]) -> None:
        self._write([documents.checked(report) for report in reports])

    def restored(self, restored: Restored) -> None:
        self._write(documents.restored(restored))

    def snapshots(self, snapshots: Sequence[Located]) -> None:
        self._write([documents.located(each) for each in snapshots])

    def pruned(self, pruned: Sequence[Pruned]) -> None:
        self._write([documents.pruned(each) for each in pruned])

    def answer(self, answer: Answer) -> None:
        self._write(documents.answer(answer))

    def executed(self, run: Run, result: ExecResult) -> None:
        self._write(documents.executed(run, result))

    def verified(self, verified: Verified) -> None:
        self._write(documents.verified(verified))

    def initialized(self, path: str, domains: Sequence[str]) -> None:
        self._write({"written": path, "domains": list(domains)})

    def upgraded(self, before: str | None, after: str) -> None:
        self._write({"from": before, "to": after})

    def coming(self, jobs: Sequence[Coming]) -> None:
        self._write([documents.coming(job) for job in jobs])

    def paused(self, kind: Pausable, name: str, *, paused: bool, changed: bool) -> None:
        self._write({"kind": kind, "name": name, "paused": paused, "changed": changed})

    def token(self, token: Token, secret: str) -> None:
        self._write({**documents.token(token), "secret": secret})

    def tokens(self, tokens: Sequence[Token], now: datetime) -> None:
        self._write([{**documents.token(token), "holds": token.holds(now)} for token in tokens])

    def revoked(self, token: str) -> None:
        self._write({"revoked": token})

    def deeds(self, deeds: Sequence[Deed]) -> None:
        self._write([documents.deed(deed) for deed in deeds])

    def report(self, report: Report) -> None:
        self._write(documents.report(report))

    def forgotten(self, runs: int) -> None:
        self._write({"forgotten": runs})

    def delivered(self, deliveries: Sequence[Delivery]) -> None:
        self._write([documents.delivery(each) for each in deliveries])

    def reloading(self, pid: int) -> None:
        self._write({"reloading": pid})

    def stopped(self) -> None:
        self._write({"stopped": True})

    def failed(self, error: Mapping[str, str]) -> None:
        self._write({"error": error})

    def _write(self, document: object) -> None:
        self._stream.write(json.dumps(document, indent=2) + "\n")
