"""The command line as a program of its own: a `run` that freezes, and thaws when its standard input says so.

The steps are an observer's flood, so that a reader who does not read has every chance to hold up the work.
"""

import sys
from dataclasses import replace

from orchestrator.cli import make_app
from orchestrator.clock import Stop
from orchestrator.model import ExecResult, Run, State
from orchestrator.ports import Observer
from tests.unit.cli.stub import DONE, FREEZE, Stub, ended

#: Far more than a pipe holds.
FLOOD = 2000


class OneGuest(Stub):
    """Says on standard error what it does."""

    def run(
        self, job: str, *, machine: str | None = None, observer: Observer | None = None, stop: Stop | None = None
    ) -> Run:
        assert observer is not None
        assert stop is not None
        for _ in range(FLOOD if job == "flood" else 1):
            observer(FREEZE)
        with stop.calling(lambda: say("asked to stop")):
            say("frozen")
            sys.stdin.readline()
            say("thawed")
        return ended(State.CANCELLED, "it was enough", FREEZE) if stop.requested else DONE


def say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    make_app(OneGuest(runs=(replace(DONE, error="no café"),), result=ExecResult(0, b"out\n", b"")))()
