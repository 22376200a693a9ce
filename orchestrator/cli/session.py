"""What all commands have in common: the configuration's path, where output goes, and how a command ends."""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from orchestrator import durations, policy
from orchestrator.cli import failures
from orchestrator.cli.output import Output, choose
from orchestrator.cli.streams import Stream
from orchestrator.cli.wire import Operating, Remotely, Service, Wire
from orchestrator.clock import Bell, Stop
from orchestrator.errors import QuiesceError
from orchestrator.model import Run
from orchestrator.ports import Configured, Observer

T = TypeVar("T")

Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output, and nothing else.")]


def duration(value: str | float) -> float:
    """Seconds, from the command line or from an option's default."""
    try:
        seconds = durations.seconds(value) if isinstance(value, str) else value
    except ValueError as error:
        raise typer.BadParameter(f"{error}; write it as 500ms, 30s, 5m, 1h or 7d") from None
    if seconds <= 0:
        raise typer.BadParameter("must be longer than 0s: nothing is done in no time")
    return seconds


#: The environment variable under which a defect shows its traceback.
DEBUG = "QUIESCE_DEBUG"


@dataclass(frozen=True)
class Start:
    """What the command line says before the command."""

    wire: Remotely
    config: Path
    #: The service that is asked in place of what is here.
    server: str | None = None
    token_file: Path | None = None


class Session:
    """One command, from its start to its exit code."""

    def __init__(self, start: Start, stdout: Stream, stderr: Stream, output: Output) -> None:
        self._start, self._stdout, self._stderr = start, stdout, stderr
        self.output = output
        self.exit_code = 0
        self._guests_touched = False

    @cached_property
    def wire(self) -> Wire:
        if self._start.server is None:
            return self._start.wire
        return self._start.wire.remote(self._start.server, self._start.token_file)

    @property
    def config(self) -> Path:
        return self._start.config

    def settings(self) -> Configured:
        return self.wire.settings(self.config)

    def service(self) -> Service:
        return self.wire.service(self.config)

    def operating(self) -> Operating:
        return self.wire.operating(self.config)

    def work(self, work: Callable[[Observer, Stop], T], hangup: Bell | None = None) -> T:
        """Do what may freeze or thaw guests, to its end, whatever signals come, and show its steps meanwhile.

        SIGHUP rings `hangup`; without one it asks to stop, as when the terminal is closed.
        """
        from orchestrator.cli.following import Follower  # with the next, only for those who need a thread
        from orchestrator.cli.interrupt import interruptible

        self._guests_touched = True
        with Follower(self.output, self._stderr) as follower:
            return interruptible(lambda stop: work(follower.step, stop), follower.note, hangup)

    def write(self, text: str) -> None:
        """A result in a form of the command's own."""
        self._stdout.write(text)

    def tell(self, lines: Iterable[str]) -> None:
        """Say something to people, on standard error."""
        for line in lines:
            self._stderr.write(line + "\n")

    def show(self, text: str) -> None:
        """One line on standard output, in place of a result."""
        self._stdout.write(text + "\n")

    def pass_on_error(self, data: bytes) -> None:
        """What a program in a guest wrote on its standard error, on ours."""
        self._stderr.pass_on(data)

    def ended(self, run: Run) -> None:
        """Show how an operator's act ended, and say why if it was not as it was asked."""
        self.output.ended(run)
        self.tell(failures.shortfalls(run))
        self.exit_code = policy.exit_code(run)

    def fail(self, error: QuiesceError) -> None:
        """The command could not be carried out."""
        self.tell(failures.lines_of(error))
        self.output.failed({"kind": type(error).__name__, "message": str(error), "advice": error.advice})
        self.exit_code = failures.exit_code(error)

    def defect(self, error: Exception) -> None:
        """This program is wrong somewhere. After work on guests, nobody knows how far it came."""
        advice = "This is a defect of quiesce."
        if self._guests_touched:
            advice += " A guest may still be frozen: run `quiesce recover` now."
        message = f"{type(error).__name__}: {error}"
        self.tell([*failures.lines_of(QuiesceError(message)), f"quiesce: {advice} {DEBUG}=1 shows where."])
        if os.environ.get(DEBUG):
            self._stderr.write(traceback.format_exc())
        self.output.failed({"kind": "Defect", "message": message, "advice": advice})
        self.exit_code = 3 if self._guests_touched else 1

    def end(self) -> typer.Exit:
        """The end of the command. A result that could not be written is a failure, unless nobody wanted to read it."""
        error = self._stdout.error
        if error is not None:
            self.tell([f"quiesce: standard output: {error.strerror}"])
            self.exit_code = self.exit_code or 1
        return typer.Exit(self.exit_code)


@contextmanager
def session(context: typer.Context, *, as_json: bool) -> Iterator[Session]:
    """A command's session. Leaving it ends the program with the session's exit code."""
    stdout, stderr = Stream(sys.stdout), Stream(sys.stderr)
    session = Session(context.ensure_object(Start), stdout, stderr, choose(stdout, as_json=as_json))
    try:
        yield session
    except QuiesceError as error:
        session.fail(error)
    except Exception as error:  # noqa: BLE001 - a user is told in one line, and a guest may need help
        session.defect(error)
    raise session.end()
