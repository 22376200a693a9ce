"""What open runs do to their machines at this moment, as far as the journal knows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from orchestrator.evidence import holding
from orchestrator.model import Outcome, Run, State, Target
from orchestrator.states import OPEN


@dataclass(frozen=True)
class Held:
    """A machine that an open run has in hand."""

    run: Run
    target: Target
    #: Its guest may be frozen now.
    frozen: bool
    #: Since when it is as it is.
    since: datetime
    #: What is done to it.
    doing: str

    @property
    def machine(self) -> str:
        """Its name."""
        return self.target.machine.name

    @property
    def stuck(self) -> bool:
        """A thaw of it could not be confirmed."""
        return self.target.state is State.STUCK

    def milliseconds(self, now: datetime) -> float:
        """For how long it is as it is."""
        return max(0.0, (now - self.since).total_seconds() * 1000)


def held(runs: Iterable[Run]) -> Iterator[Held]:
    """The machines that these runs, with their steps, still have in hand."""
    for run in runs:
        for target in run.targets:
            if target.state in OPEN:
                yield _held(run, target)


def _held(run: Run, target: Target) -> Held:
    steps = run.steps_of(target.machine.name)
    intent = holding(steps)
    if intent is not None:
        return Held(run, target, True, intent.at, intent.action)
    if not steps:
        return Held(run, target, False, run.started_at, "waiting")
    last = steps[-1]
    return Held(run, target, False, last.at, last.action if last.outcome is Outcome.INTENT else f"after {last.action}")
