"""Shut down, reboot, suspend, wake. The agent's shutdown has no answer on success, and a power button never has one:
what became of it is seen from the machine's own events, or it is not known.
"""

from contextlib import closing

from orchestrator.acts import PowerAct, PowerMode, PowerRequest, SuspendTarget
from orchestrator.clock import Deadline, Stop
from orchestrator.errors import CallError, ConfigError, OutcomeUnknown
from orchestrator.model import Action, Machine, Run
from orchestrator.operating.entries import Entries, Figures
from orchestrator.operating.seams import Connections, OperatorAgent, PowerSwitch, Watch
from orchestrator.ports import Observer

#: Seconds to begin to listen to a machine's events, for the agent to refuse, and for it to show that it is there.
_LISTEN, _REFUSE, _THERE = 10.0, 3.0, 5.0
#: Seconds between two looks whether the user has had enough.
_LOOK = 0.5

_SUSPEND = {
    SuspendTarget.MEM: "guest-suspend-ram",
    SuspendTarget.DISK: "guest-suspend-disk",
    SuspendTarget.HYBRID: "guest-suspend-hybrid",
}
_MODES = {PowerAct.SHUTDOWN: "powerdown", PowerAct.REBOOT: "reboot"}


class Powering:
    """What an operator does to a machine's power."""

    def __init__(self, entries: Entries, connections: Connections) -> None:
        self._entries, self._connections, self._clock = entries, connections, entries.clock

    def power(
        self,
        machine: str,
        request: PowerRequest,
        wait: float,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> Run:
        """Ask for it, wait up to `wait` seconds for the machine's event that shows it, and return the run.

        Without the event the run has failed, and its step says `unknown`: it may still come. Raises NotFound,
        ConfigError where nothing tells a machine's events, and JournalError.
        """
        spec = self._entries.machine(machine)
        switch = self._connections.power(spec)
        if switch is None:
            raise ConfigError(f"{machine} has neither `hypervisor` nor `qmp`: nobody could tell what became of it")
        with closing(switch), closing(self._connections.agent(spec)) as agent:

            def work(figures: Figures) -> None:
                deadline = Deadline.after(self._clock, wait)
                with switch.watching(request.act, deadline.within(_LISTEN)) as watch:
                    try:
                        self._ask(spec, request, switch, agent, deadline)
                    except OutcomeUnknown as error:
                        figures["unanswered"] = str(error)
                    figures["seen"] = _await(watch, deadline, stop or Stop())
                if figures["seen"] is None:
                    raise OutcomeUnknown(f"no event of the machine has shown the {request.act}: it may still come")

            woken = request.act is PowerAct.WAKEUP  # while it is suspended, its agent is, too
            by_agent = request.act is PowerAct.SUSPEND or request.mode is PowerMode.AGENT
            what = {"act": request.act, **_details(request)}
            asked = None if woken else agent
            return self._entries.act(
                spec, Action.POWER, what, asked, work, wait, needs_agent=by_agent, observer=observer
            )

    def _ask(
        self, machine: Machine, request: PowerRequest, switch: PowerSwitch, agent: OperatorAgent, deadline: Deadline
    ) -> None:
        """By the hypervisor, which has the power button, and the agent where the channel is its own; else by ours."""
        if machine.agent is None or request.act is PowerAct.WAKEUP or not self._is_for_agent(request, agent):
            switch.ask(request, deadline)
        elif request.act is PowerAct.SUSPEND:
            agent.command(_SUSPEND[request.target], {}, deadline.within(_REFUSE))
        else:
            agent.command("guest-shutdown", {"mode": _MODES[request.act]}, deadline.within(_REFUSE))

    def _is_for_agent(self, request: PowerRequest, agent: OperatorAgent) -> bool:
        if request.act is PowerAct.SUSPEND or request.mode is PowerMode.AGENT:
            return True
        if request.mode is PowerMode.ACPI:
            return False
        try:
            agent.sync(Deadline.after(self._clock, _THERE))
        except CallError:
            return False
        return True


def _await(watch: Watch, deadline: Deadline, stop: Stop) -> str | None:
    seen = None
    while seen is None and not deadline.passed and not stop.requested:
        seen = watch.wait(deadline.within(_LOOK))
    return seen


def _details(request: PowerRequest) -> Figures:
    match request.act:
        case PowerAct.SHUTDOWN | PowerAct.REBOOT:
            return {"mode": request.mode}
        case PowerAct.SUSPEND:
            return {"target": request.target}
        case PowerAct.WAKEUP:
            return {}
