"""The product's seam to a guest's agent: `ports.Agent` at the level of its promises, not of its bytes.

The bytes have their own tests. Here a call ends in one of the four ways that `ports` names, and each can be made to
happen: certainly nothing sent, a no, an answer, or silence with the command's fate open.
"""

from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown, Rejected, Unreachable
from orchestrator.model import AgentInfo, ExecResult, Filesystem, FreezeStatus, OsInfo, Way
from orchestrator.ports import Agent
from tests.simulation.guest import Guest, Order
from tests.simulation.laws import Laws
from tests.simulation.scheduler import Process, Scheduler
from tests.simulation.weather import Fault, Weather

_COMMANDS = frozenset(
    {"guest-fsfreeze-status", "guest-fsfreeze-thaw", "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list"}
)


class SimAgent:
    """One client of one guest's agent."""

    def __init__(self, guest: Guest, process: Process, scheduler: Scheduler, weather: Weather, laws: Laws) -> None:
        self._guest, self.process, self._laws = guest, process, laws
        self._scheduler, self._weather, self._chance = scheduler, weather, scheduler.chance
        self._in_step = False
        self.other: Agent | None = None
        process.heirs.append(self.reset)

    @property
    def way(self) -> Way:
        return Way.SOCKET if self._guest.channel.exclusive else Way.LIBVIRT

    @property
    def linger(self) -> float:
        return self._guest.channel.linger

    def sync(self, deadline: Deadline) -> None:
        self._in_step = False
        try:
            self._exchange("sync", lambda: None, deadline)
        except OutcomeUnknown as error:
            raise Unreachable(str(error)) from error
        self._in_step = True

    def ping(self, deadline: Deadline) -> None:
        self._call("ping", lambda: None, deadline)

    def info(self, deadline: Deadline) -> AgentInfo:
        info: AgentInfo = self._call("info", lambda: AgentInfo("7.2.22", _COMMANDS), deadline)
        return info

    def osinfo(self, deadline: Deadline) -> OsInfo:
        osinfo: OsInfo = self._call("osinfo", lambda: OsInfo("debian", None, None, None), deadline)
        return osinfo

    def fsinfo(self, deadline: Deadline) -> tuple[Filesystem, ...]:
        mounts = tuple(Filesystem(mount, "vda", "ext4") for mount in self._guest.mounts)
        self._call("fsinfo", lambda: None, deadline)
        return mounts

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        status: FreezeStatus = self._call("status", self._guest.status, deadline)
        return status

    def freeze(self, mountpoints: Sequence[str], deadline: Deadline) -> int:
        guest, window = self._guest, self._laws.freeze_sent(self.process, self._guest)
        self._weather.freeze_sent(self.process)

        def obey() -> int:
            count = guest.freeze(mountpoints, window.run.id)
            if count:
                self._laws.freeze_landed(guest, window)
            return count

        try:
            count: int = self._call("freeze", obey, deadline)
        except CallError as error:
            self._laws.freeze_answered(guest, window, error)
            raise
        self._laws.freeze_answered(guest, window, None)
        return count

    def thaw(self, deadline: Deadline) -> int:
        self._laws.thaw_sent(self.process, self._guest)
        count: int = self._call("thaw", lambda: self._guest.thaw(self.process.name), deadline)
        return count

    def start(self, path: str, arguments: Sequence[str], deadline: Deadline) -> int:
        self._call("exec", lambda: None, deadline)
        return 1

    def ended(self, process: int, deadline: Deadline) -> ExecResult | None:
        self._call("exec-status", lambda: None, deadline)
        return ExecResult(0, b"", b"") if self._chance.random() < 0.5 else None

    def read_file(self, path: str, limit: int, deadline: Deadline) -> bytes:
        raise Rejected(f"{path}: these guests have no files")

    def execute(self, path: str, arguments: Sequence[str], deadline: Deadline) -> ExecResult:
        """Run the script of `orchestrator.fuse`, which is the only one that is waited for."""
        _, _, _, word, run_id, *rest = arguments
        found: bool = self._call(f"{word}-fuse", self._script(word, run_id, rest), deadline)
        return ExecResult(0, b"%d\n" % found, b"")

    def _script(self, word: str, run_id: str, rest: Sequence[str]) -> Callable[[], bool]:
        guest = self._guest
        if word == "out":
            self._laws.fuse_to_be_put_out(run_id, guest)
            return lambda: guest.put_out(run_id)
        self._laws.fuse_to_be_lit(run_id, guest)

        def light() -> bool:
            guest.light(run_id, float(rest[0]))
            self._laws.fuse_lit(run_id, guest)
            return False

        return light

    def reset(self) -> None:
        self._in_step = False
        if self._guest.client is self:
            self._guest.client = None

    def close(self) -> None:
        self.reset()

    def _call(self, command: str, obey: Callable[[], Any], deadline: Deadline) -> Any:
        """One command, in step."""
        if not self._in_step:
            self.sync(deadline)
        self._in_step = False
        value = self._exchange(command, obey, deadline)
        self._in_step = True
        return value

    def _exchange(self, command: str, obey: Callable[[], Any], deadline: Deadline) -> Any:
        """Send a command once and wait for its answer."""
        self._scheduler.cross(f"{self._guest.name}.{command}")
        if self._weather.strikes(Fault.AGENT_UNREACHABLE):
            self._guest.excuse()
            raise Unreachable(f"{command}: the connection was refused")
        self._connect(deadline)
        order = Order(command, obey)
        if self._weather.strikes(Fault.REPLY_LOST):
            order.heard = False
            self._guest.excuse()
        if self._weather.strikes(Fault.LATE, times=3 if command == "freeze" else 1):
            self._guest.excuse()
            landing = self._scheduler.now + self._chance.random() * self._guest.channel.linger
            self._scheduler.at(landing, lambda: self._guest.accept(order))
        else:
            self._guest.accept(order)
        self._scheduler.pause(deadline.at, order.arrived)
        self._scheduler.cross(f"{self._guest.name}.{command} -> {order.answer if order.arrived() else 'silence'}")
        if not order.arrived():
            raise OutcomeUnknown(f"{command}: no answer in time")
        if order.error is not None:
            raise order.error
        return order.value

    def _connect(self, deadline: Deadline) -> None:
        """Be the client that the agent's port serves."""
        guest = self._guest
        while guest.channel.exclusive and guest.client is not self:
            if guest.client is None:
                guest.client = self
                return
            if self._scheduler.now >= deadline.at:
                self._laws.turned_away(guest, guest.client.process)
                raise Unreachable("another client holds the channel")
            self._scheduler.pause(deadline.at, lambda: guest.client is None)
