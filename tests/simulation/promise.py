"""The promise: no guest of ours stays frozen past its deadline while the orchestrator or its guard lives.

It is asked of the kernel, every second for as long as it holds anything frozen for one of our runs. When that must
end follows from who lives:

===================  =========================================================================================
the orchestrator is  the guest is to be thawed
===================  =========================================================================================
sound                when the freeze was given up, or at the hold limit after its answer
dead                 at its death, by the guard
hung                 when it is past its word by the guard's slack, by the guard, which ends it first
===================  =========================================================================================

A freeze that lands after that cannot be undone before. Nobody is blamed for a fault of the agent's or of the way to it:
each moves the deadline, by more than it can cost. And nobody is blamed when both are dead or hang: that is recovery's
to mend, and the laws about how everything ends ask for it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.guard.watch import SLACK
from orchestrator.model import Job, Run
from tests.simulation.guard import Guards
from tests.simulation.guest import Guest
from tests.simulation.scheduler import Process, Scheduler

#: Seconds between two looks at a frozen guest.
_LOOK = 1.0
#: Seconds that a thaw may take where nothing goes wrong: what the agent, the scheduler and the way to the guest take.
_THAW = 3.0


@dataclass
class Window:
    """One freeze of ours, from its sending to the first thaw after it."""

    process: Process
    run: Run
    job: Job
    sent: float
    #: `Guest.excused` when it was sent.
    excused: float
    #: When it was answered, or given up.
    answered: float | None = None
    #: The freeze certainly did not reach the agent, or was not obeyed.
    refused: bool = False
    thaw_sent: bool = False


class Promise:
    """Looks at a guest while it is frozen by us."""

    def __init__(self, scheduler: Scheduler, guards: Guards, check: Callable[[bool, str], None]) -> None:
        self._scheduler, self._guards, self._check = scheduler, guards, check

    def frozen(self, guest: Guest, window: Window) -> None:
        """The kernel has frozen something in that window."""
        landed = self._scheduler.now

        def look() -> None:
            if not guest.held_by(window.run.id) or guest.lost:
                return
            due = self._due(window, guest)
            if due is not None:
                due = max(due, landed) + _THAW + guest.excused - window.excused
                late = f"{guest.name}: frozen past its deadline, at {due:.1f}, by run {window.run.id}"
                self._check(self._scheduler.now <= due, late)
            elif not window.process.sound:
                return
            self._scheduler.at(self._scheduler.now + _LOOK, look)

        look()

    def _due(self, window: Window, guest: Guest) -> float | None:
        """When somebody who lives was to thaw the guest; None when nobody was."""
        orchestrator, job, key = window.process, window.job, (window.run.id, guest.name)
        if orchestrator.sound:
            if key in self._guards.stuck:
                return None  # It has said so aloud, and tries again with its next recovery.
            return window.sent + job.freeze_timeout if window.answered is None else window.answered + job.hold_limit
        guard, charge = self._guards.last(orchestrator, key)
        if guard is None or guard.doomed:
            return None
        if not orchestrator.alive:
            return orchestrator.died
        return None if charge is None or charge.at is None else charge.at + SLACK
