"""What a way to the agent must offer, and what an agent's message means to the caller of a command."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

from orchestrator.agent.wire import Failure, Json, Message, Return
from orchestrator.clock import Deadline
from orchestrator.errors import CommandDisabled, OutcomeUnknown, Rejected
from orchestrator.model import Way

T = TypeVar("T")


class Misfit(Exception):
    """A value from the guest that is not what its command answers."""


#: Turns the value of a reply into what it means. Raises Misfit.
Reader = Callable[[Json], T]


class Channel(Protocol):
    """A way to one agent. Used by one thread at a time; connects when first used and after `reset`.

    It knows whether the channel is *in step*, i.e. whether the next message from the guest is certain to answer the
    next command. It is not after connecting, and after any exchange that did not end with a reply that fits.
    """

    way: Way
    #: Seconds for which a command that was given up may still reach the guest.
    linger: float

    def sync(self, deadline: Deadline) -> None:
        """Bring the channel into step, also when it already is. Raises Unreachable: nothing has changed."""
        ...

    def call(self, command: str, arguments: Mapping[str, Json], read: Reader[T], deadline: Deadline) -> T:
        """Send a command once, after a `sync` when not in step, and return what `read` makes of its reply.

        Raises
        ------
        Unreachable
            nothing of the command was sent.
        Rejected, CommandDisabled
            the agent answered with an error.
        OutcomeUnknown
            it was sent, at least partly, and no reply that fits came by `deadline`.
        """
        ...

    def reset(self) -> None:
        """Drop the connection. The next call connects anew. Never raises."""
        ...

    def close(self) -> None:
        """Drop the connection for good. Never raises."""
        ...


def settle(command: str, message: Message, read: Reader[T]) -> T:
    """What the message that followed a command says about it: the value, or Rejected, or OutcomeUnknown.

    `CommandNotFound` is the agent's class for a command that it does not know, that its administrator forbids, and that
    it does not carry out in its frozen state (`qmp_dispatch` and `ga_disable_not_allowed` in QEMU).
    """
    match message:
        case Return(value):
            try:
                return read(value)
            except Misfit as misfit:
                raise OutcomeUnknown(f"{command}: the agent's reply does not fit: {misfit}") from misfit
        case Failure("CommandNotFound", description):
            raise CommandDisabled(f"{command}: {description}")
        case Failure(kind, description):
            raise Rejected(f"{command}: {kind}: {description}")
        case _:
            raise OutcomeUnknown(f"{command}: the agent sent {message.reason}")
