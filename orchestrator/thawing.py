"""The one ladder by which a guest is thawed: by the transaction, the guard, recovery and by hand.

Retry, resync, reconnect; then, where the machine has a second way, by the two in turn. Why a thaw by the second way
does not always count: docs/decisions/0009-stuck-and-leases.md.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

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
#: Tries by the first way before the second one has its turn. So many and one more must fit into any limit.
_FIRST = 2
#: Seconds that may lie between two tries: `until_confirmed` waits no longer.
_PAUSE = 5.0


def one_call() -> float:
    """The seconds after which one call of a thaw has ended, and the next one begins: who takes longer, hangs."""
    return _ONE_TRY + _PAUSE


#: Tells who watches over us the seconds in which what is done now will have ended.
Within = Callable[[float], None]


class NotThawed(CallError):
    """The agent answered the thaw, and the guest is or may become frozen all the same."""


def thaw_until_confirmed(
    agent: Agent,
    recorder: Recorder,
    clock: Clock,
    limit: float,
    *,
    watch: bool,
    within: Within = lambda _: None,
) -> None:
    """Thaw until the agent has answered a thaw with its count and then said `thawed`. Windows may answer with an error.

    With `watch`, it must go on saying so for as long as a freeze that was given up may still reach the guest, and
    is thawed again when it does not. Then only the way by which the freeze was sent, which is `agent` itself, can
    confirm: the second way lets the guest go on meanwhile, and knows nothing of what the first one still holds back.

    Each try is a step of its own. The first one brings the channel into step if it is not; each later one begins with
    a new connection. Before each call, `within` is told the seconds until the next.

    Raises CallError when a thaw cannot be confirmed within `limit` seconds: then the guest may still be frozen.
    """
    watched = Deadline.after(clock, agent.linger if watch else 0.0)
    pending = watch
    _thaw(agent, recorder, clock, limit, watch, within)
    while pending:
        try:
            _confirm(agent, recorder, watched, within, **_named(agent, agent))
            pending = False
        except CallError:
            _thaw(agent, recorder, clock, limit, watch, within)


def longest(limit: float, linger: float) -> float:
    """The seconds that `thaw_until_confirmed` may take, when it thaws once more at the end of its watch."""
    thaw = limit + _ONE_TRY
    return thaw + linger + _ONE_TRY + thaw + _ONE_TRY if linger else thaw


def _thaw(agent: Agent, recorder: Recorder, clock: Clock, limit: float, watch: bool, within: Within) -> None:
    deadline = Deadline.after(clock, limit)
    one_try = _ONE_TRY if agent.other is None else min(_ONE_TRY, limit / (_FIRST + 1))
    for attempt in until_confirmed(deadline):
        number = attempt.retry_state.attempt_number
        way = _way(agent, number)
        within(one_call())
        with attempt:
            try:
                with recorder.act(Action.THAW, **_named(agent, way)) as figures:
                    if number > 1:
                        way.reset()
                    figures["thawed"] = way.thaw(deadline.within(one_try))
            except Rejected:
                within(one_call())
                if way is not agent or not _lets_go_by_itself(agent, deadline.within(one_try)):
                    raise
            if watch and way is not agent:
                with recorder.act(Action.CONFIRM, **_named(agent, way)):
                    raise NotThawed(f"thawed by {way.way}, but a freeze was sent by {agent.way} and may land there yet")
            _confirm(way, recorder, deadline.within(0.0), within, **_named(agent, way))


def _way(agent: Agent, number: int) -> Agent:
    """By which way a try goes: the first two by the first one, then by the second one and the first one in turn."""
    if agent.other is None or number <= _FIRST or (number - _FIRST) % 2 == 0:
        return agent
    return agent.other


def _named(agent: Agent, way: Agent) -> dict[str, Any]:
    """The figure that tells the ways apart, where there are two."""
    return {} if agent.other is None else {"way": way.way}


def _lets_go_by_itself(agent: Agent, deadline: Deadline) -> bool:
    """Whether the guest is a Windows that no longer believes to be frozen: otherwise its agent would not answer this.

    VSS lets go after ten seconds, and a thaw after that is answered by an error, however often it is sent.
    """
    with suppress(CallError):
        return agent.osinfo(deadline).windows
    return False


def _confirm(agent: Agent, recorder: Recorder, until: Deadline, within: Within, **figures: Any) -> None:
    """Afterwards the agent has said `thawed` at every look, the last of which was sent after `until`."""
    with recorder.act(Action.CONFIRM, **figures) as figures:
        while True:
            # A slow agent may answer after `until` what was asked before, and know nothing of what came behind it.
            last = until.passed
            within(one_call())
            figures["status"] = agent.freeze_status(Deadline.after(until.clock, _ONE_TRY))
            if figures["status"] is FreezeStatus.FROZEN:
                raise NotThawed("the agent says that the guest is still frozen")
            if last:
                return
            until.clock.sleep(_LOOK)
