"""The guard's process, wired: `python -m orchestrator.guard_main`, with the orchestrator's socket as standard input.

It is small and loads all that it may need before it says that it is armed. It outlives its parent, whose group and
session it does not share, and whoever asks it to end: it ends by itself, when there is nothing left to thaw.
"""

import os
import signal
import socket
from collections.abc import Sequence
from functools import partial

from orchestrator.clock import Clock, Deadline, SystemClock, Task
from orchestrator.connections import RealConnections
from orchestrator.errors import CallError, Unreachable
from orchestrator.guard.watch import Charge, Watch, peer, until_needed
from orchestrator.recorder import Recorder
from orchestrator.retrying import without_end
from orchestrator.thawing import thaw_until_confirmed

#: Seconds for which a thaw is tried on one connection of the agent's: then a recovering process gets its turn.
_ROUND = 10.0
#: Failed rounds that are written down. What the hundredth of them would say is in the first.
_TOLD = 3


def main() -> None:
    """Watch over the orchestrator, and thaw what it leaves frozen."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=os.dup(0)) as link:
        clock, orchestrator = SystemClock(), peer(link)
        _leave_streams()  # until here, the orchestrator hears why there is no guard
        charges = until_needed(Watch(clock, RealConnections(clock).agent), link, orchestrator)
    thaw_all(charges, clock)


def thaw_all(charges: Sequence[Charge], clock: Clock) -> None:
    """Thaw all machines at once, and return when none needs the guard any longer."""
    tasks = [Task(clock, f"thaw {charge.machine.name}", partial(thaw, charge, clock)) for charge in charges]
    for task in tasks:
        task.join()


def thaw(charge: Charge, clock: Clock) -> None:
    """Thaw one machine, however long it takes, unless somebody else has settled it."""
    failed = 0
    for attempt in without_end(clock):
        with attempt:
            if not charge.record.lock(Deadline.after(clock, 0.0)):
                raise Unreachable("somebody else thaws it now")
            recorder = Recorder(charge.machine.name, clock)
            try:
                if charge.record.needed:  # asked behind the lock: who had it may have settled the machine
                    thaw_until_confirmed(charge.agent, recorder, clock, _ROUND, watch=not charge.answered)
                failed = 0
            except CallError:
                failed += 1
                raise
            finally:
                if failed <= _TOLD:
                    charge.record.append(recorder.steps)
                charge.agent.reset()
                charge.record.unlock()


def _leave_streams() -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)


if __name__ == "__main__":
    main()
