"""A guest: a kernel that holds file systems frozen, and an agent that has its own belief about it.

They are separate on purpose. The kernel's state is the truth that the laws ask for; the product sees the agent only.
As qemu-ga does, the agent obeys one command after the other in the order of their arrival, refuses nearly all while it
believes to have frozen, keeps that belief over a restart, and thaws whatever it finds frozen, whoever froze it.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from orchestrator.errors import CallError, CommandDisabled, Rejected
from orchestrator.model import FreezeStatus
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Fault, Weather

#: What the agent obeys in its frozen state.
_WHILE_FROZEN = {"sync", "ping", "info", "status", "thaw"}

#: Seconds that one fault may cost: a try, and the longest wait before the next one, in `retrying`.
FAULT = 45.0

#: Who holds a file system frozen, beside our runs.
STRANGER = "stranger"


@dataclass(frozen=True)
class Hold:
    """A file system that the kernel holds frozen."""

    #: The id of our run, or STRANGER.
    by: str
    since: float


@dataclass(frozen=True)
class Channel:
    """The way to an agent."""

    #: Seconds for which a command may lie on its way.
    linger: float
    #: It serves one client at a time.
    exclusive: bool


SOCKET, LIBVIRT = Channel(3.0, exclusive=True), Channel(36.0, exclusive=False)


class Client(Protocol):
    """Whoever is connected to an agent."""

    process: Process


class Order:
    """One command on its way to the agent, and its answer on the way back."""

    __slots__ = ("answered", "command", "error", "heard", "obey", "value")

    def __init__(self, command: str, obey: Callable[[], Any]) -> None:
        self.command, self.obey = command, obey
        self.value: Any = None
        self.error: CallError | None = None
        self.answered = False
        #: False: the reply is lost on its way.
        self.heard = True

    @property
    def answer(self) -> str:
        """What it comes to, for the trace."""
        return str(self.error or (self.value if isinstance(self.value, (int, FreezeStatus)) else "ok"))

    def arrived(self) -> bool:
        """Whether the client has the answer."""
        return self.answered and self.heard


class Guest:
    """One machine, seen from inside."""

    def __init__(
        self, name: str, mounts: Sequence[str], channel: Channel, scheduler: Scheduler, weather: Weather
    ) -> None:
        self.name, self.mounts, self.channel = name, tuple(mounts), channel
        self._scheduler, self._weather, self._chance = scheduler, weather, scheduler.chance
        #: The kernel: what is frozen, and by whom.
        self.frozen: dict[str, Hold] = {}
        #: The fuses that are lit in it: when each burns, by the run that lit it.
        self.fuses: dict[str, float] = {}
        #: What was thawed by the agent or a fuse: by whom, and for how many seconds it was frozen.
        self.thaws: list[tuple[str, float]] = []
        #: The agent's belief, and since when a stranger's freeze is what it believes in.
        self.believes_frozen = False
        self.foreign_since: float | None = None
        #: The agent: does it run, and does it obey?
        self.runs = self.obeys = True
        #: Whose connection the agent's port serves, where it serves one; others wait unheard.
        self.client: Client | None = None
        #: It will never come back.
        self.lost = False
        #: Seconds that its faults may have cost whoever wanted to thaw it.
        self.excused = 0.0
        #: Told when a thaw has let something go that a stranger had frozen through the agent, and since when.
        self.on_foreign_thaw: Callable[[float], None] = lambda since: None
        self._orders: deque[Order] = deque()
        self._working: Order | None = None

    def excuse(self, seconds: float = FAULT) -> None:
        """Something went wrong on the way to it, or with its agent."""
        self.excused += seconds

    # The kernel

    def held_by(self, run_id: str) -> bool:
        """Whether the kernel holds anything frozen for that run."""
        return any(hold.by == run_id for hold in self.frozen.values())

    def frozen_since(self, mountpoints: Sequence[str]) -> float | None:
        """Since when all of these are frozen; None when not all are."""
        holds = [self.frozen.get(mount) for mount in mountpoints or self.mounts]
        return max((hold.since for hold in holds if hold), default=None) if all(holds) else None

    def thaw_past_the_agent(self, mounts: Sequence[str]) -> None:
        """Somebody thaws with `fsfreeze -u`: the agent goes on believing."""
        self._scheduler.tell(f"{self.name}: another hand thaws {', '.join(mounts)}")
        for mount in mounts:
            self.frozen.pop(mount, None)

    def light(self, run_id: str, seconds: float) -> None:
        """Light a fuse, and put out any other."""
        at = self._scheduler.now + seconds
        self.fuses = {run_id: at}
        self._scheduler.at(at, lambda: self._burn(run_id, at))

    def put_out(self, run_id: str) -> bool:
        """Put out the fuse of a run, and tell whether there was one."""
        return self.fuses.pop(run_id, None) is not None

    def _burn(self, run_id: str, at: float) -> None:
        """A fuse that was not put out thaws all, and asks nobody."""
        if self.fuses.get(run_id) == at:
            del self.fuses[run_id]
            self._scheduler.tell(f"{self.name}: the fuse of run {run_id} burns")
            self._note_thaw("fuse")
            self.frozen.clear()

    def _note_thaw(self, by: str) -> None:
        self.thaws += [(by, self._scheduler.now - hold.since) for hold in self.frozen.values()]

    # The agent's work

    def accept(self, order: Order) -> None:
        """An order arrives at the agent's port."""
        self._orders.append(order)
        self._work()

    def lose(self) -> None:
        """The agent dies for good."""
        self.lost = True
        self.die()

    def stop(self) -> None:
        """The agent becomes mute, as with SIGSTOP."""
        self._scheduler.tell(f"{self.name}: the agent is mute")
        self.obeys = False

    def go_on(self) -> None:
        """A mute agent works off what has arrived."""
        self.obeys = True
        self._work()

    def die(self) -> None:
        """The agent is killed: what it was at may have taken effect or not, and nobody hears of it."""
        self._scheduler.tell(f"{self.name}: the agent dies")
        self.runs = False
        if self._working is not None and self._chance.random() < 0.5:
            self._carry_out(self._working)
        self._working = None

    def restart(self) -> None:
        """The agent comes back in its frozen state, and may find old orders in its port."""
        self._scheduler.tell(f"{self.name}: the agent is back")
        self.runs = True
        if self._chance.random() < 0.5:
            self._orders.clear()
        self._work()

    def _work(self) -> None:
        if self._working is not None or not self._orders or not self.runs or not self.obeys:
            return
        order = self._working = self._orders.popleft()
        self._scheduler.at(self._scheduler.now + self._effort(order.command), lambda: self._finish(order))

    def _effort(self, command: str) -> float:
        luck = self._chance.random()
        if self._weather.strikes(Fault.SLOW):
            self.excuse()
            return 0.5 + luck * 10
        return luck * {"freeze": 0.4, "thaw": 0.1}.get(command, 0.005)

    def _finish(self, order: Order) -> None:
        if self._working is not order:
            return
        if not self.obeys:
            self._scheduler.at(self._scheduler.now + 0.5, lambda: self._finish(order))
            return
        self._carry_out(order)
        order.answered = True
        self._working = None
        self._work()

    def _carry_out(self, order: Order) -> None:
        try:
            if self.believes_frozen and order.command not in _WHILE_FROZEN:
                raise CommandDisabled(f"Command {order.command} has been disabled: the agent is in frozen state")
            if self._weather.strikes(Fault.AGENT_REJECTS) and order.command != "sync":
                self.excuse()
                raise Rejected(f"{order.command}: Input/output error")
            order.value = order.obey()
        except CallError as error:
            order.error = error
        self._scheduler.tell(f"{self.name}: the agent obeys {order.command}: {order.answer}")

    # The agent's commands

    def freeze(self, mountpoints: Sequence[str], by: str) -> int:
        """Freeze what is not frozen yet, count it, and believe."""
        new = [mount for mount in mountpoints or self.mounts if mount in self.mounts and mount not in self.frozen]
        for mount in new:
            self.frozen[mount] = Hold(by, self._scheduler.now)
        self.believes_frozen = bool(new)
        if new and by == STRANGER:
            self.foreign_since = self._scheduler.now
        elif new:
            self._meet_trouble()
        return len(new)

    def thaw(self, by: str) -> int:
        """Thaw whatever is frozen, count it, and believe."""
        if self.foreign_since is not None and self.frozen and by != STRANGER:
            self.on_foreign_thaw(self.foreign_since)
        count = len(self.frozen)
        self._note_thaw(by)
        self.frozen.clear()
        self.believes_frozen, self.foreign_since = False, None
        return count

    def status(self) -> FreezeStatus:
        """What the agent believes."""
        return FreezeStatus.FROZEN if self.believes_frozen else FreezeStatus.THAWED

    def _meet_trouble(self) -> None:
        """The seconds after a freeze are where faults hurt, so they are aimed there."""
        now, luck = self._scheduler.now, self._chance
        if self._weather.strikes(Fault.OTHER_HAND, times=3):
            some = luck.sample(self.mounts, luck.randint(1, len(self.mounts)))
            self._scheduler.at(now + luck.random() * 0.5, lambda: self.thaw_past_the_agent(some))
        if self._weather.strikes(Fault.MUTE, times=3):
            at = now + luck.random() * 0.5
            self._scheduler.at(at, self.stop)
            silence = luck.choice([1, 10, 60]) * luck.random()
            self._scheduler.at(at + silence, self.go_on)
            self.excuse(2 * silence + FAULT)
        if self._weather.strikes(Fault.RESTART, times=3):
            at = now + luck.random() * 0.5
            self._scheduler.at(at, self.die)
            self._scheduler.at(at + luck.random() * 5, self.restart)
            self.excuse()
