"""What an operator did, written into the history: a run without a job, on one machine, that says who asked for what.

An act that changes something holds the machine while it is done, like any run: the journal lets one open run have it,
so none freezes the guest meanwhile, and none that has it is disturbed. A question holds nothing, and is written down
when it was answered.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, FrozenByOther, MachineBusy, NotFound, Refused, Superseded
from orchestrator.evidence import freeze_may_hold, outcome_of
from orchestrator.model import Action, FreezeStatus, Machine, Owner, Run, State, Step, Target, Trigger
from orchestrator.ports import Agent, Journal, Observer
from orchestrator.recorder import Recorder, new_run
from orchestrator.recovery import Recovery, in_hand
from orchestrator.retrying import after_thaw
from orchestrator.states import held_by

T = TypeVar("T")

#: Seconds for the agent to say whether the guest is frozen.
_STATUS = 5.0
#: Seconds for the journal to come back when something was done.
_JOURNAL = 30.0
#: Seconds that an act may take beside its work. Then whoever cannot tell whether its process lives takes it for gone.
_REST = 60.0

Figures = dict[str, Any]


class Entries:
    """Writes an operator's acts into the history."""

    def __init__(
        self,
        *,
        machines: Mapping[str, Machine],
        journal: Journal,
        clock: Clock,
        owner: Owner,
        operator: str,
        recovery: Recovery,
    ) -> None:
        """`operator` is who asks, for the history."""
        self._machines, self._journal = machines, journal
        self.clock = clock
        self._owner, self._operator, self._recovery = owner, operator, recovery

    def machine(self, name: str) -> Machine:
        """The machine of that name. Raises NotFound."""
        if name not in self._machines:
            raise NotFound.in_configuration("machine", name, self._machines)
        return self._machines[name]

    def asked(self, machine: Machine, what: Figures, question: Callable[[], T]) -> tuple[str, T]:
        """Put a question that changes nothing; return the id of the run that tells of it, and the answer.

        Raises CallError when there is none, and JournalError.
        """
        recorder = Recorder(machine.name, self.clock)
        run = self._new_run(machine, self._owner)
        try:
            with recorder.act(Action.ASK, by=self._operator, **what):
                answer = question()
        except CallError as error:
            self._write(replace(run, steps=recorder.steps), State.FAILED, str(error))
            raise type(error)(
                f"{machine.name}: {error}. Next: `quiesce check {machine.name}` says how it is"
            ) from error
        self._write(replace(run, steps=recorder.steps), State.DONE, None)
        return run.id, answer

    def act(
        self,
        machine: Machine,
        action: Action,
        what: Figures,
        agent: Agent | None,
        work: Callable[[Figures], None],
        limit: float,
        *,
        needs_agent: bool = True,
        observer: Observer | None = None,
    ) -> Run:
        """Do what changes something, and return the run as it ended.

        `work` takes at most `limit` seconds, adds what it learns to the figures of its step, and raises CallError, or
        Refused. It is not begun when another run is open on the machine, or `agent` says that the guest is frozen:
        then the run is `refused`. Nor when the agent does not answer, unless the act needs none.
        """
        with self._recovery.recovering([machine]):
            until = self.clock.now() + timedelta(seconds=limit + _REST)
            run = self._journal.open_run(self._new_run(machine, replace(self._owner, until=until)))
            if run.state is State.REFUSED:
                return run
            with in_hand.taking(run.id), suppress(Superseded):  # Who took it over has written down how it ended.
                self._carry_out(run, action, what, agent, work, needs_agent, observer)
            return self._journal.run(run.id)

    def _carry_out(
        self,
        run: Run,
        action: Action,
        what: Figures,
        agent: Agent | None,
        work: Callable[[Figures], None],
        needs_agent: bool,
        observer: Observer | None,
    ) -> None:
        recorder = Recorder(run.targets[0].machine.name, self.clock, observer)
        try:
            if agent is not None:
                self._check_thawed(agent, recorder, needs_agent)
            recorder.intend(action, by=self._operator, **what)
            self._move(run, State.RUNNING, None, recorder)
            with recorder.act(action, by=self._operator, **what) as figures:
                work(figures)
        except Refused as error:
            self._end(run, State.REFUSED, str(error), recorder)
        except CallError as error:
            self._end(run, State.FAILED, str(error), recorder)
        else:
            self._end(run, State.DONE, None, recorder)

    def _check_thawed(self, agent: Agent, recorder: Recorder, needs_agent: bool) -> None:
        with recorder.act(Action.PREFLIGHT) as figures:
            try:
                figures["freeze_status"] = agent.freeze_status(Deadline.after(self.clock, _STATUS))
            except CallError as error:
                if needs_agent:
                    raise
                figures["not_asked"] = str(error)
                return
            if figures["freeze_status"] is FreezeStatus.FROZEN:
                raise FrozenByOther("the guest's file systems are frozen, and not by a run of this journal")

    def check_agent_is_free(self, machine: Machine) -> None:
        """Raise MachineBusy while a living run is on its way to a thaw: a question to the agent could hold that up.

        The agent of a stuck machine may be asked, and that of one whose backup is being copied.
        """
        for run in self._journal.open_runs():
            target = held_by(run, machine, self._owner.host)
            if target is None or self._recovery.is_abandoned(run):
                continue
            if _needs_agent(target, run.steps_of(target.machine.name)):
                raise MachineBusy(f"run {run.id} needs the agent of {machine.name}; ask again when that is over")

    def _new_run(self, machine: Machine, owner: Owner) -> Run:
        return new_run(self.clock, owner, None, Trigger.MANUAL, (Target(machine),))

    def _write(self, run: Run, state: State, error: str | None) -> None:
        """Write down a run that has ended already."""
        self._journal.open_run(run.with_target(replace(run.targets[0], state=state, error=error)))

    def _end(self, run: Run, state: State, error: str | None, recorder: Recorder) -> None:
        after_thaw(Deadline.after(self.clock, _JOURNAL))(self._move, run, state, error, recorder)

    def _move(self, run: Run, state: State, error: str | None, recorder: Recorder) -> None:
        with recorder.journaling() as steps:
            self._journal.move(run, replace(run.targets[0], state=state, error=error), steps)


def _needs_agent(target: Target, steps: Sequence[Step]) -> bool:
    """Whether a run that is worked on may still have to freeze or thaw this machine."""
    if target.state is State.RUNNING:
        return freeze_may_hold(steps) or outcome_of(steps, Action.CONFIRM) is None
    return target.state is State.PENDING
