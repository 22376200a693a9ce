"""The one way in which a guest is thawed: by the transaction, by recovery and by hand."""

from orchestrator.clock import Deadline
from orchestrator.errors import CallError
from orchestrator.model import Action, FreezeStatus
from orchestrator.ports import Agent
from orchestrator.recorder import Recorder
from orchestrator.retrying import until_confirmed

#: Seconds that one thaw may take to answer before it is tried again. Nine of ten thaws take less than one
#: (Proxmox, qemu-server d11391ff); one of a Windows guest took 54.
_ONE_THAW = 10.0
#: Seconds for the agent to say whether it is thawed. libvirt gives its own `guest-sync` 5.
_ONE_STATUS = 5.0
#: Seconds for which a guest is watched after a freeze whose outcome is unknown, and between two looks. The
#: agent works off its commands in order, so a freeze lands after our thaw only when it was held up on its way.
_WATCH, _LOOK = 3.0, 0.5


class NotThawed(CallError):
    """The agent answered the thaw, and then said that the guest is frozen."""


def thaw_until_confirmed(agent: Agent, recorder: Recorder, deadline: Deadline, *, watch: bool) -> None:
    """Thaw until the agent has answered a thaw with its count and then said `thawed`.

    With `watch`, it must go on saying so for 3 s: for a freeze that was sent and not answered, and may
    still land. Each try is a step of its own. The first one brings the channel into step if it is not; each later
    one begins with a new connection.

    Raises CallError at `deadline`: then the guest may still be frozen.
    """
    for attempt in until_confirmed(deadline):
        with attempt:
            if attempt.retry_state.attempt_number > 1:
                agent.reset()
            _thaw(agent, recorder, deadline, watch)


def _thaw(agent: Agent, recorder: Recorder, deadline: Deadline, watch: bool) -> None:
    with recorder.act(Action.THAW) as figures:
        figures["thawed"] = agent.thaw(deadline.within(_ONE_THAW))
    with recorder.act(Action.CONFIRM) as figures:
        watched = deadline.within(_WATCH if watch else 0.0)
        while True:
            figures["status"] = agent.freeze_status(deadline.within(_ONE_STATUS))
            if figures["status"] is FreezeStatus.FROZEN:
                raise NotThawed("the agent says that the guest is still frozen")
            if watched.passed:
                return
            deadline.clock.sleep(_LOOK)
