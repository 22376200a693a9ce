"""Settle what nobody works on any more, by the transaction's own steps: ask, thaw, verify the cut, close.

Everything here may be killed at any point and run again: a run stays open until its targets are moved, and each step
finds the world as it is.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.errors import CallError, ConfigError, JournalError, Superseded
from orchestrator.evidence import (
    NOT_PROVEN,
    dangling,
    freeze_may_hold,
    fuse_may_burn,
    is_news,
    leased_until,
    operators_word,
    outcome_of,
    window_by_wall_clock,
)
from orchestrator.fuse import put_out
from orchestrator.model import Action, Machine, Outcome, Owner, Quiesce, Run, State, Step, Target
from orchestrator.policy import judge
from orchestrator.ports import Connections, Guard, Journal, Observer
from orchestrator.recorder import Recorder
from orchestrator.settling import cut_is_settled, discard, results, saying_how_the_guest_is, settle_cut, settled
from orchestrator.states import OPEN, held_by
from orchestrator.thawing import longest, thaw_until_confirmed

#: Seconds for the driver to tell what became of a cut.
_VERIFY = 30.0
#: Seconds for which the thaw of a stuck guest is tried again each time.
_STUCK = 10.0
#: Seconds that recovery may take beside its thaws: for a guard that is at it, a cut, and a journal that comes back.
_REST = 240.0


class InHand:
    """The runs that this process works on now. One that is its own and not among them was given up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, Stop | None] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._runs

    def ids(self) -> frozenset[str]:
        """The ids of these runs."""
        with self._lock:
            return frozenset(self._runs)

    @contextmanager
    def taking(self, run_id: str, stop: Stop | None = None) -> Iterator[None]:
        """Within the `with`, the run is in hand, and `stop` ends it. Raises Superseded when it is already."""
        with self._lock:
            if run_id in self._runs:
                raise Superseded(f"run {run_id} is worked on already")
            self._runs[run_id] = stop
        try:
            yield
        finally:
            del self._runs[run_id]

    def end(self, run_id: str) -> bool:
        """Ask a run to end; say whether it is in hand and can be ended."""
        stop = self._runs.get(run_id)
        if stop is None:
            return False
        stop.request()
        return True


#: Of the whole process, like the owner of a run.
in_hand = InHand()


def let_go(journal: Journal, run: Run, owner: Owner) -> Run:
    """Give a run that has ended for its owner to nobody if it is stuck: whoever comes next tries again.

    Without an answer of the journal it stays the owner's, who comes again, or ends.
    """
    if run.state is not State.STUCK or run.owner != owner:
        return run
    with suppress(JournalError):
        return journal.take_over(run, run.owner.nobody)
    return run


class Recovery:
    """Takes over the open runs that nobody has in hand any more. Who has taken one over has it alone."""

    def __init__(
        self,
        journal: Journal,
        connections: Connections,
        guard: Guard,
        clock: Clock,
        owner: Owner,
        is_gone: Callable[[Owner], bool],
        observer: Observer | None = None,
    ) -> None:
        self._journal, self._connections, self._guard, self._clock = journal, connections, guard, clock
        self._owner, self._is_gone, self._observer = owner, is_gone, observer

    def recover(self) -> tuple[Run, ...]:
        """Settle every open run that nobody has in hand, and return them as they are now.

        Afterwards each of their guests is confirmed thawed, and its target `recovered`; or it is `stuck`, and
        is tried again next time. Runs of living processes are left alone. Raises JournalError.
        """
        return tuple(run for run in results([task for _, task in self.start()]) if run is not None)

    def start(self) -> list[tuple[Run, "Task[Run | None]"]]:
        """Begin with it: each run is settled on a thread of its own, so that no guest waits for another one.

        A task returns the run as it is then, or None when somebody was faster. Raises JournalError.
        """
        # Every run begins with this: those that this process has in hand, maybe hundreds, are not read.
        abandoned = [run for run in self._journal.open_runs(apart_from=in_hand.ids()) if self.is_abandoned(run)]
        settle = self._settle_unless_settled
        return [(run, Task(self._clock, f"recover {run.id}", partial(settle, run))) for run in abandoned]

    @contextmanager
    def recovering(self, machines: Sequence[Machine]) -> Iterator[None]:
        """Recover what nobody has in hand: runs that hold one of these before the `with`, all others until it ends."""
        begun = self.start()
        try:
            host = self._owner.host
            results([task for run, task in begun if any(held_by(run, machine, host) for machine in machines)])
            yield
        finally:
            for _, task in begun:  # What went wrong with another machine is there for whoever comes next.
                task.join()

    def settle(self, run: Run, word: str | None = None) -> Run:
        """Settle one open run, whoever owns it, and return it as it is now.

        With an operator's `word` on its guests, those whose thaw is not confirmed are `recovered` all the same. A run
        of another host is settled by that word alone: what this host reaches by the same names are other guests.

        Raises JournalError; Superseded when another process was faster, or the run ended by itself meanwhile.
        """
        died = run.owner.pid != 0 and self._is_gone(run.owner)
        here = run.owner.host == self._owner.host
        with in_hand.taking(run.id):
            until = self._clock.now() + timedelta(seconds=longest(_limit(run), _REST))
            run = self._journal.take_over(run, replace(self._owner, until=until))
            case = _Case(run, "its process died" if died else "its process gave it up", here, word)
            opened = [target for target in run.targets if target.state in OPEN]
            settle = partial(self._settle, case)
            tasks = [Task(self._clock, f"recover {t.machine.name}", partial(settle, t)) for t in opened]
            results(tasks)
            return let_go(self._journal, self._journal.run(run.id), self._owner)

    def is_abandoned(self, run: Run) -> bool:
        """Whether an open run is for the next one who comes: nobody of this host has it in hand, or we did when the
        journal went away.
        """
        if run.id in in_hand:
            return False
        if run.owner == self._owner or self._is_gone(run.owner):
            return True
        return run.owner.host == self._owner.host and self.is_overdue(run)

    def is_overdue(self, run: Run) -> bool:
        """Whether its lease has ended, and its owner is on another host or in another container: no one can ask it."""
        here = (self._owner.host, self._owner.namespace) == (run.owner.host, run.owner.namespace)
        return not here and leased_until(run) < self._clock.now()

    def _settle_unless_settled(self, run: Run) -> Run | None:
        with suppress(Superseded):
            return self.settle(run)
        return None

    def _settle(self, case: "_Case", target: Target) -> None:
        run, lost = case.run, case.lost
        before = run.steps_of(target.machine.name)
        recorder = Recorder(target.machine.name, self._clock, self._observer)
        with (
            self._guard.record(run.id, target.machine.name) as left,  # What it did is known, and it does no more.
            saying_how_the_guest_is(target.machine.name, lambda: (*before, *recorder.steps)),
        ):
            for action in dangling(before):
                recorder.conclude(action, Outcome.UNKNOWN, lost)
            recorder.include(step for step in left.steps if step not in before)
            if case.here and freeze_may_hold((*before, *recorder.steps)):
                self._thaw(run, target, before, recorder)
            if case.word is not None and freeze_may_hold((*before, *recorder.steps)):
                recorder.conclude(Action.CONFIRM, Outcome.UNKNOWN, NOT_PROVEN, by="operator", reason=case.word)
            if self._is_old_story(target, before, recorder):
                return
            if not freeze_may_hold((*before, *recorder.steps)):
                left.dismiss()  # before the run is closed: the next one may freeze at once
            if case.here:
                self._put_out_fuse(run, target, before, recorder)
                self._settle_cut(run, target, before, recorder)
            if self._close(run, lost, target, before, recorder) is not State.STUCK:
                left.remove()

    def _is_old_story(self, target: Target, before: Sequence[Step], recorder: Recorder) -> bool:
        """Whether a stuck guest stays stuck, and the history need not be told so once more."""
        if target.state is not State.STUCK or not freeze_may_hold((*before, *recorder.steps)):
            return False
        return not is_news(before, recorder.steps, self._clock.now())

    def _close(self, run: Run, lost: str, target: Target, before: Sequence[Step], recorder: Recorder) -> State:
        """Write to the journal how the target ended, and return its state there."""
        steps = (*before, *recorder.steps)
        verdict = judge(run.job.quiesce if run.job else Quiesce.OFF, steps)
        if freeze_may_hold(before):
            verdict = replace(verdict, window_ms=window_by_wall_clock(steps), hold_ms=None)
        if verdict.state is not State.STUCK:
            ended = "its thaw was confirmed only later" if target.state is State.STUCK else f"interrupted: {lost}"
            if (word := operators_word(steps)) is not None:
                ended = f"{NOT_PROVEN}: {word}"
            rest = (verdict.error or "").removeprefix(lost).removeprefix("; ")
            why = f"{ended}; {rest}" if rest else ended
            verdict = replace(verdict, state=State.RECOVERED, error=why)
        if verdict.state is target.state:
            self._record(run, recorder)
        else:
            closed = settled(target, verdict, run.snapshot_name, steps)
            try:
                self._journal.move(run, closed, recorder.unjournaled())
            except Superseded:  # Who was faster wrote the verdict. What we did happened all the same.
                self._record(run, recorder)
                raise
        return verdict.state

    def _thaw(self, run: Run, target: Target, before: Sequence[Step], recorder: Recorder) -> None:
        limit = _STUCK if target.state is State.STUCK else _limit(run)
        freeze = outcome_of(before, Action.FREEZE)
        answered = freeze is not None and freeze.outcome is Outcome.DONE
        agent = self._connections.agent(target.machine)
        # What goes wrong is written down: without a confirmed thaw the verdict is `stuck`.
        with closing(agent), suppress(CallError):
            thaw_until_confirmed(agent, recorder, self._clock, limit, watch=not answered)

    def _put_out_fuse(self, run: Run, target: Target, before: Sequence[Step], recorder: Recorder) -> None:
        steps = (*before, *recorder.steps)
        if fuse_may_burn(steps) and not freeze_may_hold(steps):
            with closing(self._connections.agent(target.machine)) as agent:
                put_out(agent, run.id, recorder, self._clock)

    def _settle_cut(self, run: Run, target: Target, before: Sequence[Step], recorder: Recorder) -> None:
        """Find out by its name what became of the cut. What was prepared is removed if there was none."""
        prepared = next((step for step in before if step.action is Action.PREPARE), None)
        if run.job is None or prepared is None or cut_is_settled(before):
            return
        record = partial(self._record, run, recorder)
        deadline = Deadline.after(self._clock, _VERIFY)
        plan = prepared.figures["plan"]
        with ExitStack() as stack:
            hypervisor = self._connections.hypervisor(target.machine)
            if hypervisor is not None:
                stack.enter_context(closing(hypervisor))
            try:
                driver = self._connections.driver(run.job, target.machine, run.id, hypervisor)
            except ConfigError as error:  # It was uninstalled, or knows the journaled options no more.
                recorder.conclude(Action.VERIFY, Outcome.FAILED, str(error))
                return
            stack.enter_context(closing(driver))
            if any(step.action is Action.CUT for step in before):
                settle_cut(driver, plan, recorder, deadline, record)
            else:
                discard(driver, plan, recorder, deadline, record)

    def _record(self, run: Run, recorder: Recorder) -> None:
        with recorder.journaling() as steps:
            self._journal.record(run, steps)


@dataclass(frozen=True)
class _Case:
    """A run that was taken over."""

    run: Run
    #: What became of its process.
    lost: str
    #: It was a run of this host.
    here: bool
    #: What an operator says about guests whose thaw is not confirmed.
    word: str | None


def _limit(run: Run) -> float:
    """Seconds for which the thaw of a guest that is not stuck yet is tried."""
    return run.job.thaw_timeout if run.job else _STUCK
