"""The guest's agent, as the heart needs it."""

from collections.abc import Callable, Sequence
from typing import Protocol

from orchestrator.clock import Deadline
from orchestrator.model import AgentInfo, ExecResult, Filesystem, FreezeStatus, OsInfo, Step, Way

#: Is told of every step as it is made, also inside the window: it must return at once and never raise.
#: Of a step that takes long it is told how far it is, by its intent once more, with figures that no journal has.
Observer = Callable[[Step], None]


class Agent(Protocol):
    """The guest agent of one machine. Used by one thread at a time.

    It connects by itself when first used and after `reset`, and brings the channel into step (`guest-sync`)
    before a call whenever it is not known to be.
    """

    @property
    def way(self) -> Way:
        """How it is reached."""
        ...

    @property
    def other(self) -> "Agent | None":
        """The machine's second way, where it has one: a thaw may go by it when this one does not answer.

        Behind it may be the same agent, or another one in the same guest with a belief of its own.
        """
        ...

    @property
    def linger(self) -> float:
        """Seconds for which a command that we gave up waiting for may still reach the guest."""
        ...

    def sync(self, deadline: Deadline) -> None:
        """Prove that the agent answers now, and discard every stale reply.

        Raises Unreachable or OutcomeUnknown.
        """
        ...

    def ping(self, deadline: Deadline) -> None:
        """`guest-ping`."""
        ...

    def info(self, deadline: Deadline) -> AgentInfo:
        """`guest-info`: version and enabled commands."""
        ...

    def osinfo(self, deadline: Deadline) -> OsInfo:
        """`guest-get-osinfo`. Raises CommandDisabled on an agent older than 2.10."""
        ...

    def fsinfo(self, deadline: Deadline) -> tuple[Filesystem, ...]:
        """`guest-get-fsinfo`: the guest's mounted file systems. Refused by the agent while frozen."""
        ...

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        """`guest-fsfreeze-status`: the agent's belief."""
        ...

    def freeze(self, mountpoints: Sequence[str], deadline: Deadline) -> int:
        """Freeze all file systems, or those at `mountpoints`, and return how many were frozen.

        `guest-fsfreeze-freeze`, or `guest-fsfreeze-freeze-list` with mount points. Never sent twice by one call.
        Raises CommandDisabled when it was certainly not carried out: the agent forbids it, or is in its
        frozen state already.
        """
        ...

    def thaw(self, deadline: Deadline) -> int:
        """`guest-fsfreeze-thaw`: thaw, and return how many file systems were still frozen. 0 on a thawed guest."""
        ...

    def start(self, path: str, arguments: Sequence[str], deadline: Deadline) -> int:
        """Start a program in the guest (`guest-exec`), and return the number by which `ended` asks for it.

        On Linux that is its process id.
        """
        ...

    def ended(self, process: int, deadline: Deadline) -> ExecResult | None:
        """How a started program ended, or None while it runs (`guest-exec-status`). It is told once only."""
        ...

    def execute(self, path: str, arguments: Sequence[str], deadline: Deadline) -> ExecResult:
        """Run a program in the guest and wait for its end (`guest-exec`, `guest-exec-status`).

        The program is not ended when `deadline` passes; OutcomeUnknown is raised then.
        """
        ...

    def read_file(self, path: str, limit: int, deadline: Deadline) -> bytes:
        """The first `limit` bytes of a file of the guest. Raises Rejected when there is none."""
        ...

    def reset(self) -> None:
        """Drop the connection, and that of the second way. The next call connects anew. Never raises."""
        ...

    def close(self) -> None:
        """Drop both for good. Never raises."""
        ...
