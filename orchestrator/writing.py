"""How a transaction writes its steps into the journal: once each, also when an answer is lost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.clock import Clock, Deadline
from orchestrator.model import Run, Step, Target
from orchestrator.ports import Journal
from orchestrator.retrying import after_thaw
from orchestrator.settling import saying_how_the_guest_is
from orchestrator.window import Lane

#: Seconds, after the thaw, for the journal to come back.
PATIENCE = 30.0


class Writing:
    """What one run writes for its lanes. Every method raises JournalError."""

    def __init__(self, run: Run, journal: Journal, clock: Clock) -> None:
        self._run, self._journal, self._clock = run, journal, clock

    def record(self, lane: Lane) -> None:
        """Write the lane's new steps."""
        with self._steps(lane) as steps:
            self._journal.record(self._run, steps)

    def move(self, lane: Lane, target: Target) -> None:
        """Move the lane's target, and write its new steps: all or nothing."""
        with self._steps(lane) as steps:
            if lane.target.state is not target.state:
                self._journal.move(self._run, target, steps)
        lane.target = target

    def after_thaw(self, lane: Lane, write: Callable[..., None], *arguments: Target) -> None:
        """`write` by one of the above; wait for the journal if it is away. If it stays away, say how the guest is."""
        with saying_how_the_guest_is(lane.machine, lambda: lane.recorder.steps):
            after_thaw(Deadline.after(self._clock, PATIENCE))(write, lane, *arguments)

    @contextmanager
    def _steps(self, lane: Lane) -> Iterator[tuple[Step, ...]]:
        """The steps that the journal does not have yet, which the body of the `with` writes.

        A write that failed may have landed all the same, when only its answer was lost. So what the journal has is
        looked up first: nothing is written twice, and a move that has landed is not taken for another process's.
        """
        if lane.in_doubt:
            run = self._journal.run(self._run.id)
            lane.target = run.target(lane.machine)
            lane.recorder.found(len(run.steps_of(lane.machine)))
        lane.in_doubt = True
        with lane.recorder.journaling() as steps:
            yield steps
        lane.in_doubt = False
