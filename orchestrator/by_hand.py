"""A thaw by hand: because an operator asks for it, or because an agent was passed by and must be told."""

from contextlib import closing, suppress
from dataclasses import replace

from orchestrator import belief
from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, MachineBusy, Superseded
from orchestrator.model import Action, Machine, Owner, Run, State, Target, Trigger
from orchestrator.ports import Agent, Connections, Journal, Observer
from orchestrator.preflight import busy, check_thawed
from orchestrator.recorder import Recorder, new_run
from orchestrator.recovery import Recovery, in_hand, let_go
from orchestrator.retrying import after_thaw
from orchestrator.settling import saying_how_the_guest_is
from orchestrator.states import held_by
from orchestrator.thawing import thaw_until_confirmed

#: Seconds for the guest to tell whether it is frozen.
_CHECK = 10.0
#: Seconds for which the thaw is tried.
_THAW = 60.0
#: Seconds for which it waits for another process that tries to thaw the same guest, and between two looks at that.
_TURN, _LOOK = 60.0, 0.5
#: Seconds, after the thaw, for the journal to come back.
_JOURNAL = 30.0


class ByHand:
    """Thaws one machine at a time, each in a run of its own unless a run holds it."""

    def __init__(
        self,
        journal: Journal,
        connections: Connections,
        recovery: Recovery,
        clock: Clock,
        owner: Owner,
        observer: Observer | None,
    ) -> None:
        self._journal, self._connections, self._recovery = journal, connections, recovery
        self._clock, self._owner, self._observer = clock, owner, observer

    def thaw(self, machine: Machine, *, force: bool, reason: str | None) -> Run:
        """See `Service.thaw`."""
        for run in self._journal.open_runs():
            if held_by(run, machine, self._owner.host):
                return self._settle(run, machine, reason if force else None)
        with closing(self._connections.agent(machine)) as agent:
            left = None if force else self._why_thaw(machine, agent)
            return self._thaw(machine, agent, reason or left)

    def _why_thaw(self, machine: Machine, agent: Agent) -> str | None:
        """What to write down as the reason. Raises FrozenByOther, and CallError when the agent cannot be asked."""
        try:
            left = self._left_by(machine, agent)
            if left is None:
                check_thawed(agent, Deadline.after(self._clock, _CHECK))
        except CallError as error:
            raise type(error)(
                f"{machine.name}: {error}. No open run of this journal froze it, and it was not thawed; whether it is "
                f"frozen is not known. Next: `quiesce check {machine.name}`"
            ) from error
        return left

    def let_know(self, machine: Machine) -> None:
        """Thaw an agent that would refuse a run because it was passed by; what cannot be settled, the run finds out."""
        with closing(self._connections.agent(machine)) as agent, suppress(CallError):
            if agent.other is not None and (left := self._left_by(machine, agent)) is not None:
                self._thaw(machine, agent, left)

    def _left_by(self, machine: Machine, agent: Agent) -> str | None:
        """Why an agent that says `frozen` needs a thaw by which nothing is let go; None when it may hold a freeze."""
        deadline = Deadline.after(self._clock, _CHECK)
        run = belief.left_by(self._journal, machine, self._owner.host, agent, deadline)
        if run is None:
            return None
        return f"the agent still believed in the freeze of run {run.id}, which was thawed by the second way"

    def _settle(self, run: Run, machine: Machine, word: str | None) -> Run:
        """Settle the open run that holds a machine, once nobody else has it in hand."""
        recovery, patience = self._recovery, Deadline.after(self._clock, _TURN)
        while not recovery.is_abandoned(run) and not (word is not None and recovery.is_overdue(run)):
            target = held_by(run, machine, self._owner.host)
            if target is None:
                return run
            if recovery.is_overdue(run):
                raise MachineBusy(
                    f"run {run.id} keeps {machine.name}; its owner {run.owner} cannot be asked from here, and its "
                    f"lease has ended. If that is gone for good: `quiesce thaw {machine.name} --force --reason TEXT`"
                )
            if target.state is not State.STUCK or patience.passed:
                raise busy(run, target)
            self._clock.sleep(_LOOK)  # Who tries to thaw it lets go of it soon.
            run = self._journal.run(run.id)
        with suppress(Superseded):  # Another process was faster.
            recovery.settle(run, word)
        return self._journal.run(run.id)

    def _thaw(self, machine: Machine, agent: Agent, reason: str | None) -> Run:
        run = new_run(self._clock, self._owner, None, Trigger.THAW, (Target(machine),))
        with in_hand.taking(run.id):
            return self._carry_out(self._journal.open_run(run), agent, reason)

    def _carry_out(self, run: Run, agent: Agent, reason: str | None) -> Run:
        [target] = run.targets
        if target.state is State.REFUSED:
            return run
        recorder = Recorder(target.machine.name, self._clock, self._observer)
        recorder.intend(Action.THAW, **({} if reason is None else {"reason": reason}))
        target = replace(target, state=State.RUNNING)
        with recorder.journaling() as intents:
            self._journal.move(run, target, intents)
        try:
            thaw_until_confirmed(agent, recorder, self._clock, _THAW, watch=False)
            target = replace(target, state=State.DONE)
        except CallError as error:
            target = replace(target, state=State.STUCK, error=str(error))
        with saying_how_the_guest_is(target.machine.name, lambda: recorder.steps), suppress(Superseded):
            after_thaw(Deadline.after(self._clock, _JOURNAL))(self._journal.move, run, target, recorder.unjournaled())
        return let_go(self._journal, self._journal.run(run.id), self._owner)
