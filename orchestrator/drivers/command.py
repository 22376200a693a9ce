"""Cuts made by the operator's own programs: a storage array's snapshot, a copy of a file system, anything."""

import os
import shutil
from collections.abc import Collection, Generator, Mapping
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.drivers import check_options
from orchestrator.errors import ConfigError, OutcomeUnknown, Rejected
from orchestrator.model import Progress
from orchestrator.ports import DriverContext, Plan
from orchestrator.programs import Ended, run

#: What `verify` says by its exit status.
CUT_EXISTS, NO_CUT = 0, 1

#: Seconds for `remove`.
_REMOVE = 3600.0


class Command:
    """Runs programs that the job names. Each option is a list of a program and its arguments; there is no shell.

    `cut`      makes the cut. It runs while the guests are frozen, and is killed with its children at the hold limit.
    `verify`   optional: exits with 0 when the cut exists and with 1 when it does not. Without it, nobody can tell after
               a cut that failed or was killed, and the run says so.
    `discard`  optional: removes whatever a cut left that did not happen. It may be called more than once.
    `remove`   removes what a cut made, when `retention` lets go of it. It may be called more than once.

    Each gets, in its environment, QUIESCE_RUN (the run's id), QUIESCE_MACHINE and QUIESCE_SNAPSHOT (the name to give to
    whatever it makes).
    """

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError when an option is unknown, missing, or not a list of strings."""
        check_options(context, ("cut", "verify", "discard", "remove"))
        self._context = context
        self._cut = _program(context, "cut")
        if not self._cut:
            raise ConfigError(f"job {context.job}: the driver command needs the option 'cut', a list of strings")
        self._verify = _program(context, "verify")
        self._discard = _program(context, "discard")
        self._remove = _program(context, "remove")

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        """The name of the snapshot: more is not known of what a program makes."""
        return {"snapshot": snapshot}

    def prepare(self, plan: Plan, deadline: Deadline) -> None:
        """Afterwards all programs are known to be there. Raises Rejected when one is missing or not executable."""
        for program in (self._cut, self._verify, self._discard, self._remove):
            if program and shutil.which(program[0]) is None:
                raise Rejected(f"job {self._context.job}: {program[0]} is missing or not executable")

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Run `cut`, and describe what was made by the end of its output.

        Raises Rejected for another exit status than 0, OutcomeUnknown when it was killed, by us or by a signal.
        """
        return _describe(self._succeed(self._cut, plan, deadline))

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """Run `verify`. Raises Rejected when there is none, OutcomeUnknown when it says neither yes nor no."""
        if not self._verify:
            raise Rejected(f"job {self._context.job} has no option 'verify' to tell whether the cut exists")
        ended = run(self._verify, deadline, self._environment(plan))
        if ended.status not in (CUT_EXISTS, NO_CUT):
            raise OutcomeUnknown(f"{self._verify[0]} cannot tell whether the cut exists: {_how(ended)}")
        return _describe(ended) if ended.status == CUT_EXISTS else None

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        """Run `discard`, if there is one. Raises Rejected for another exit status than 0."""
        if self._discard:
            self._succeed(self._discard, plan, deadline)

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        """Run `remove`. Raises Rejected when there is none, or for another exit status than 0."""
        yield from ()
        if not self._remove:
            raise Rejected(f"job {self._context.job} has no option 'remove' to remove what its cuts made")
        self._succeed(self._remove, {"snapshot": made["name"]}, deadline.within(_REMOVE))

    def close(self) -> None:
        """Nothing to release."""

    def _succeed(self, program: list[str], plan: Plan, deadline: Deadline) -> Ended:
        ended = run(program, deadline, self._environment(plan))
        if ended.status < 0:
            raise OutcomeUnknown(f"{program[0]} {_how(ended)}")
        if ended.status > 0:
            raise Rejected(f"{program[0]} {_how(ended)}")
        return ended

    def _environment(self, plan: Plan) -> dict[str, str]:
        ours = {
            "QUIESCE_RUN": self._context.run_id,
            "QUIESCE_MACHINE": self._context.machine.name,
            "QUIESCE_SNAPSHOT": str(plan["snapshot"]),
        }
        return {**os.environ, **ours}


def _program(context: DriverContext, key: str) -> list[str]:
    """A program and its arguments from the job's options; empty when there is none."""
    if key not in context.options:
        return []
    words = context.options[key]
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) for word in words):
        raise ConfigError(
            f"job {context.job}: the option {key!r} must be a list of strings: a program and its arguments"
        )
    return list(words)


def _how(ended: Ended) -> str:
    how = f"ended with status {ended.status}" if ended.status >= 0 else f"was ended by signal {-ended.status}"
    return f"{how}; it said: {ended.output}" if ended.output else how


def _describe(ended: Ended) -> Mapping[str, Any]:
    return {"output": ended.output}
