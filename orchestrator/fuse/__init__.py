"""The fuse in the guest: a process there that thaws it when host, hypervisor and network are all gone.

The guard needs this host, and a way to the guest. The fuse needs neither: lit before the freeze by `guest-exec`, it
waits in the guest, and thaws what it finds frozen when its time has come. After the confirmed thaw it is put out. One
that burnt too early is seen by the thaw's count, as any other hand that thaws is.

Both are done by `guest.sh`, and `fuse.sh` is the fuse itself. docs/decisions/0008-fuse.md says why it is as it is.
"""

import math
from collections.abc import Sequence
from contextlib import suppress
from importlib.resources import files

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, Rejected, Unreachable
from orchestrator.model import Action
from orchestrator.ports import Agent
from orchestrator.recorder import Recorder
from orchestrator.retrying import until_answered

_GUEST, _FUSE = (files(__package__).joinpath(name).read_text(encoding="ascii") for name in ("guest.sh", "fuse.sh"))
_SHELL = "/bin/sh"
#: Seconds for a guest to light a fuse, or to put it out.
_ANSWER = 10.0
#: Why the script gave up, by its exit code.
_REFUSALS = {
    1: "the fuse in the guest did not say that it is lit",
    2: "the guest is not a Linux with fsfreeze and setsid (util-linux)",
    3: "a fuse in the guest does not go out",
}


def light(agent: Agent, run_id: str, seconds: float, recorder: Recorder, clock: Clock) -> None:
    """Afterwards a fuse is lit in the guest, which burns after `seconds`, and no other one is.

    `seconds` are rounded up to whole ones. Raises CallError when it is not certain to be lit; the step says by its
    figure `lit` whether it may be.
    """
    with recorder.act(Action.FUSE, lit=True) as figures:
        try:
            words = [f"quiesce-fuse-light-{run_id}", "light", run_id, str(math.ceil(seconds)), _FUSE]
            _run(agent, words, Deadline.after(clock, _ANSWER))
        except (Unreachable, Rejected) as error:
            figures["lit"] = False
            raise type(error)(f"the fuse cannot be lit: {error}") from error


def put_out(agent: Agent, run_id: str, recorder: Recorder, clock: Clock) -> None:
    """Put out the fuse of a run, whichever process lit it. To be called any number of times.

    The step says by its figure `found` whether there was one: otherwise it has burnt. Never raises CallError: what goes
    wrong is written down, and the fuse burns in its time, on a guest that is thawed.
    """
    deadline = Deadline.after(clock, _ANSWER)
    with suppress(CallError), recorder.act(Action.FUSE, lit=True) as figures:
        said = until_answered(deadline)(_run, agent, ["quiesce-fuse", "out", run_id], deadline)
        figures["found"] = said.strip() == b"1"
        figures["lit"] = False


def _run(agent: Agent, words: Sequence[str], deadline: Deadline) -> bytes:
    """Run the script in the guest, and return what it wrote."""
    result = agent.execute(_SHELL, ["-c", _GUEST, *words], deadline)
    if result.exit_code != 0:
        raise Rejected(_REFUSALS.get(result.exit_code or 0, f"its shell ended with {result.exit_code} in the guest"))
    return result.output
