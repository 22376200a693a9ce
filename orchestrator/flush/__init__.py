"""Write back the guest's dirty pages before the freeze, so that the freeze finds little to write.

A freeze writes all dirty pages back while writers wait. `sync` does that before the freeze, and most of the stall moves
with it: what the application flushes waits behind all the rest in the disk's queue. `gentle` bounds that queue.
Both are `guest.sh`, which runs in the guest: there it goes on, and puts back what it changed, whatever becomes of us.

docs/decisions/0004-gentle-flush.md has the measurements.
"""

import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any

from orchestrator.clock import Deadline, Stop
from orchestrator.errors import CallError, OutcomeUnknown, Rejected
from orchestrator.model import ExecResult, PreFlush
from orchestrator.ports import Agent

_SCRIPT = files(__package__).joinpath("guest.sh").read_text(encoding="ascii")
_SHELL = "/bin/sh"
#: Seconds in which the agent answers one question.
_ANSWER = 10.0
#: Seconds between two questions whether the flush has ended: the first, and the longest. What is dirtied in between is
#: left to the freeze.
_FIRST_POLL, _LONGEST_POLL = 0.05, 0.4
#: Seconds that the script has less than we: to measure, and to be asked.
_MARGIN = 5.0
#: What the script says, each on a line of its own, in kB: no guest has 10^12 of them.
_SAID = re.compile(rb"(before|after) ([0-9]{1,12})")
#: Why the script gave up, by its exit code.
_REFUSALS = {
    2: "the guest is not a Linux, or its agent may not change vm.dirty_background_bytes",
    3: "another flush goes on in the guest, or was killed altogether: vm.dirty_background_bytes still has its value",
}


def write_back(agent: Agent, how: PreFlush, deadline: Deadline, stop: Stop) -> Mapping[str, Any]:
    """Run the pre-flush in the guest until it ends or `stop` is requested, and say what it did.

    A flush that is stopped ends by itself soon, and restores what it changed; nobody waits for it. Raises
    CommandDisabled when the agent does not allow `guest-exec`, Rejected when the guest has no such shell or kernel, and
    OutcomeUnknown when the flush was started and how it ended is not known.
    """
    clock = deadline.clock
    began = clock.monotonic()
    seconds = max(1, int(deadline.remaining() - _MARGIN))
    command = ["-c", _SCRIPT, "quiesce-flush", how.value, str(seconds)]
    process = agent.start(_SHELL, command, deadline.within(_ANSWER))
    try:
        result = _await_end(agent, process, deadline, stop)
        if result is None:
            _end(agent, process, deadline)
            return {"how": how.value, "stopped": True, "seconds": round(clock.monotonic() - began, 1)}
    except CallError as error:
        raise OutcomeUnknown(f"the flush was started, and how it ended is not known: {error}") from error
    if result.exit_code != 0:
        raise Rejected(_REFUSALS.get(result.exit_code or 0, f"the flush ended with {result.exit_code} in the guest"))
    return {"how": how.value, **_figures(result.output), "seconds": round(clock.monotonic() - began, 1)}


def _await_end(agent: Agent, process: int, deadline: Deadline, stop: Stop) -> ExecResult | None:
    """How the script ended, or None when `stop` was requested before."""
    stopped = threading.Event()
    pause = _FIRST_POLL
    with stop.calling(stopped.set):
        while not deadline.clock.wait(stopped, deadline.within(pause)):
            if deadline.passed:
                raise OutcomeUnknown("it did not end in time")
            result = agent.ended(process, deadline.within(_ANSWER))
            if result is not None:
                return result
            pause = min(pause * 2, _LONGEST_POLL)
    return None


def _end(agent: Agent, process: int, deadline: Deadline) -> None:
    """Ask the script to end. If that does not reach it, it ends by its own time."""
    with suppress(CallError):
        agent.start(_SHELL, ["-c", 'kill "$1"', "quiesce-flush", str(process)], deadline.within(_ANSWER))


def _figures(output: bytes) -> Mapping[str, int]:
    """What the script measured, as far as the guest's answer is what the script writes."""
    said = [_SAID.fullmatch(line) for line in output.split(b"\n", 3)[:3]]
    return {f"dirty_{words[1].decode()}_kb": int(words[2]) for words in said if words}
