"""The one way in which a guest is thawed: by the transaction, by recovery and by hand."""

from contextlib import suppress

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, Rejected
from orchestrator.model import Action, FreezeStatus
from orchestrator.ports import Agent
from orchestrator.recorder import Recorder
from orchestrator.retrying import until_confirmed

#: Seconds that one try may take to be answered: nine of ten thaws take less than one (Proxmox, qemu-server d11391ff;
#: one of a Windows guest took 54), and libvirt's own `guest-sync` in front up to five.
_ONE_TRY = 10.0
#: Seconds between two looks at a guest that is watched.
_LOOK = 0.5


class NotThawed(CallError):
    """The agent answered the thaw, and then said that the guest is frozen."""


def thaw_until_confirmed(agent: Agent, recorder: Recorder, clock: Clock, limit: float, *, watch: bool) -> None:
    """Thaw until the agent has answered a thaw with its count and then said `thawed`. Windows may answer with an error.

    With `watch`, it must go on saying so for as long as a freeze that was given up may still reach the guest, and
    is thawed again when it does not. Each try is a step of its own. The first one brings the channel into step if it is
    not; each later one begins with a new connection.

    Raises CallError when a thaw cannot be confirmed within `limit` seconds: then the guest may still be frozen.
    """
    watched = Deadline.after(clock, agent.linger if watch else 0.0)
    _thaw(agent, recorder, Deadline.after(clock, limit))
    while watch:
        try:
            _confirm(agent, recorder, watched)
            watch = False
        except CallError:
            _thaw(agent, recorder, Deadline.after(clock, limit))


def longest(limit: float, linger: float) -> float:
    """The seconds that `thaw_until_confirmed` may take, when it thaws once more at the end of its watch."""
    thaw = limit + _ONE_TRY
    return thaw + linger + _ONE_TRY + thaw + _ONE_TRY if linger else thaw


def _thaw(agent: Agent, recorder: Recorder, deadline: Deadline) -> None:
    for attempt in until_confirmed(deadline):
        with attempt:
            try:
                with recorder.act(Action.THAW) as figures:
                    if attempt.retry_state.attempt_number > 1:
                        agent.reset()
                    figures["thawed"] = agent.thaw(deadline.within(_ONE_TRY))
            except Rejected:
                if not _lets_go_by_itself(agent, deadline.within(_ONE_TRY)):
                    raise
            _confirm(agent, recorder, deadline.within(0.0))


def _lets_go_by_itself(agent: Agent, deadline: Deadline) -> bool:
    """Whether the guest is a Windows that no longer believes to be frozen: otherwise its agent would not answer this.

    VSS lets go after ten seconds, and a thaw after that is answered by an error, however often it is sent.
    """
    with suppress(CallError):
        return agent.osinfo(deadline).windows
    return False


def _confirm(agent: Agent, recorder: Recorder, until: Deadline) -> None:
    """Afterwards the agent has said `thawed` at every look, the last of which was sent after `until`."""
    with recorder.act(Action.CONFIRM) as figures:
        while True:
            # A slow agent may answer after `until` what was asked before, and know nothing of what came behind it.
            last = until.passed
            figures["status"] = agent.freeze_status(Deadline.after(until.clock, _ONE_TRY))
            if figures["status"] is FreezeStatus.FROZEN:
                raise NotThawed("the agent says that the guest is still frozen")
            if last:
                return
            until.clock.sleep(_LOOK)
