"""Which ends of runs are worth a notice, and what it says."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from orchestrator import advice
from orchestrator.errors import FrozenByOther, QuiesceError
from orchestrator.escape import escape
from orchestrator.model import (
    Concern,
    Notice,
    NoticeKind,
    Run,
    Sight,
    Sighting,
    State,
    Step,
    Target,
)
from orchestrator.policy import is_degraded
from orchestrator.ports import Journal, Notifier, Witness

_KINDS = {
    State.STUCK: NoticeKind.STUCK,
    State.FAILED: NoticeKind.FAILED,
    State.REFUSED: NoticeKind.FAILED,
    State.RECOVERED: NoticeKind.RECOVERED,
}


def witness(journal: Journal, notifier: Notifier) -> Witness:
    """Tells people how the targets of runs end. Of an operator's acts, who see it for themselves, only a stuck one."""

    def told(run: Run, target: Target | None, steps: Sequence[Step]) -> None:
        if target is None:
            return
        kind = _kind(run, target)
        if run.job is None and kind is not NoticeKind.STUCK:
            return
        if kind is not None:
            with suppress(QuiesceError):  # with all its steps, which say how the guest is
                run = journal.run(run.id)
            notifier.tell(of_target(kind, run, target))
        elif target.state is State.DONE and run.job is not None:
            notifier.well(run.job.name, target.machine.name)

    return told


def of_target(kind: NoticeKind, run: Run, target: Target) -> Notice:
    """The notice of how a target ended. A guest is stuck whatever job did it."""
    job = run.job.name if run.job is not None and kind is not NoticeKind.STUCK else None
    name = escape(run.job.name) if run.job is not None else run.trigger.value
    return Notice(Concern(kind, job, target.machine.name), f"{name}, run {run.id}: {advice.line(run, target)}")


def of_stuck(runs: Sequence[Run]) -> Sequence[Notice]:
    """The notices of all stuck guests among the targets of runs."""
    return [
        of_target(NoticeKind.STUCK, run, target)
        for run in runs
        for target in run.targets
        if target.state is State.STUCK
    ]


def of_foreign(sightings: Sequence[Sighting]) -> Sequence[Notice]:
    """The notices of all guests that somebody else keeps frozen."""
    return [
        Notice(
            Concern(NoticeKind.FOREIGN, machine=each.machine),
            f"FOREIGN {escape(each.machine)}: frozen, and by no run of this journal. It was left so. "
            f"{FrozenByOther.advice.replace('MACHINE', escape(each.machine))}",
        )
        for each in sightings
        if each.saw is Sight.FOREIGN
    ]


def of_missed(job: str, at: datetime, why: str) -> Notice:
    """The notice of a scheduled time that passed without a run."""
    when = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    text = f"MISSED {job}: it was not run for {when}: {why}. Next: `quiesce run {job}` if it should be made up for."
    return Notice(Concern(NoticeKind.MISSED, job), text)


def of_unbegun(job: str, error: QuiesceError) -> Notice:
    """The notice of a run that could not even begin."""
    text = f"FAILED {job}: it could not begin: {escape(str(error), 2000)}. {error.advice}".rstrip()
    return Notice(Concern(NoticeKind.FAILED, job), text)


def _kind(run: Run, target: Target) -> NoticeKind | None:
    """What is to be told of a target that was moved; None when nothing is."""
    if is_degraded(run.job, target.state, target.consistency):
        return NoticeKind.DEGRADED
    return _KINDS.get(target.state)
