"""`python -m tests.fakes.orchestrator FOLDER HOLD AGENT...`: an orchestrator in the middle of its window, to be killed.

It arms its guard for the machine behind each agent's socket, freezes it, and says the guard's process id. For each line
that it then reads it does what the line says: `thaw`, `arm`, or, at the end of its input, ends as it stands.
"""

import os
import sys
from pathlib import Path

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import Deadline, SystemClock
from orchestrator.guard.leases import ProcessGuard
from orchestrator.model import Machine
from orchestrator.recorder import Recorder
from orchestrator.thawing import thaw_until_confirmed


def main() -> None:
    """Hold the window."""
    folder, hold, *sockets = sys.argv[1:]
    clock = SystemClock()
    guard = ProcessGuard(Path(folder), clock)
    machines = [Machine(Path(path).stem, agent=path) for path in sockets]
    leases = [guard.arm("run", machine) for machine in machines]
    agents = [GuestAgent(unix_channel(path)) for path in sockets]
    for lease, agent in zip(leases, agents, strict=True):
        lease.within(10)
        agent.freeze((), Deadline.after(clock, 10))
        lease.within(float(hold), answered=True)
    print(guard.pid, flush=True)
    for line in sys.stdin:
        if line == "thaw\n":
            for machine, lease, agent in zip(machines, leases, agents, strict=True):
                thaw_until_confirmed(agent, Recorder(machine.name, clock), clock, 10, watch=False)
                agent.close()
                lease.release()
        else:
            leases = [guard.arm("next", machine) for machine in machines]
        print(guard.pid, flush=True)
    os._exit(0)  # with nothing closed, as a process that is killed


if __name__ == "__main__":
    main()
