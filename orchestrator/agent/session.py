"""A conversation with the agent over a stream of bytes, which stays in step or finds back into it.

The agent's channel has no notion of a client: what the agent wrote for the previous one, or for a command that we
gave up waiting for, is read by whoever listens next. So before a command is sent, the stream is brought into step with
`guest-sync-delimited` (QEMU docs/interop/qemu-ga-ref), unless the last exchange has just shown that it is. A command in
step costs one round trip.
"""

import os
from collections.abc import Mapping
from typing import Protocol

from orchestrator.agent.channel import Reader, T, settle
from orchestrator.agent.wire import Decoder, Failure, Json, Message, Return, encode, encode_sync
from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown, Unreachable
from orchestrator.model import Way


class Transport(Protocol):
    """A stream of bytes to the agent, one connection at a time."""

    def connect(self, deadline: Deadline) -> bool:
        """Be connected; say whether that took a new connection. Raises Unreachable."""
        ...

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of `data`. Raises Unreachable when none of it was sent, else OutcomeUnknown."""
        ...

    def receive(self, deadline: Deadline) -> bytes:
        """Wait for bytes, at least one. Raises OutcomeUnknown when none came, or none can come any more."""
        ...

    def arrived(self) -> bytes:
        """The bytes that are there already, without waiting; empty when there are none."""
        ...

    def close(self) -> None:
        """Drop the connection. Never raises."""
        ...


class Session:
    """A `Channel` over a `Transport`."""

    way = Way.SOCKET
    #: What we sent lies before the agent, which works in order: a reply to anything later proves that it was read. The
    #: rest is for an agent that is restarted and finds old bytes in its port.
    linger = 3.0

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._decoder = Decoder()
        self._in_step = False

    def sync(self, deadline: Deadline) -> None:
        """Bring the stream into step and discard every stale message. Raises Unreachable: nothing has changed.

        An agent that does not know `guest-sync-delimited` is asked by `guest-sync`. It replies in order, so a stale
        refusal that looks like its own does no harm: the later of the two identities is waited for.
        """
        self._look(deadline)
        self._in_step = False
        self._decoder = Decoder()
        awaited = _new_identity()
        delimited = True
        try:
            self._transport.send(encode_sync(awaited), deadline)
            while not self._in_step:
                messages = self._receive(deadline)
                if messages[-1] == Return(awaited):
                    self._in_step = True
                elif delimited and any(map(_is_unknown_command, messages)):
                    awaited = _new_identity()
                    delimited = False
                    self._transport.send(encode("guest-sync", {"id": awaited}), deadline)
        except OutcomeUnknown as error:
            raise Unreachable(f"{error}; the agent may not run, or another client may hold its channel") from error

    def call(self, command: str, arguments: Mapping[str, Json], read: Reader[T], deadline: Deadline) -> T:
        """Send a command once and return what `read` makes of its reply; see `Channel.call`."""
        self._look(deadline)
        if not self._in_step:
            self.sync(deadline)
        self._in_step = False
        try:
            self._transport.send(encode(command, arguments), deadline)
            messages = self._receive(deadline)
        except CallError as error:
            raise type(error)(f"{command}: {error}") from error
        if len(messages) > 1:
            raise OutcomeUnknown(f"{command}: the agent sent {len(messages)} messages where one was due")
        self._in_step = self._decoder.empty
        try:
            return settle(command, messages[0], read)
        except OutcomeUnknown:
            self._in_step = False
            raise

    def reset(self) -> None:
        """Drop the connection. The next call connects anew. Never raises."""
        self._transport.close()

    def close(self) -> None:
        """Drop the connection for good. Never raises."""
        self._transport.close()

    def _look(self, deadline: Deadline) -> None:
        """Be connected; out of step when that took a new connection, or when something came that was not due."""
        stale = self._transport.arrived()
        if self._transport.connect(deadline) or stale:
            self._in_step = False

    def _receive(self, deadline: Deadline) -> list[Message]:
        """Wait for messages, at least one. Raises OutcomeUnknown."""
        messages: list[Message] = []
        while not messages:
            messages = self._decoder.feed(self._transport.receive(deadline))
        return messages


def _new_identity() -> int:
    """A number that no earlier client used: random, and small enough for every JSON parser."""
    return int.from_bytes(os.urandom(6))


def _is_unknown_command(message: Message) -> bool:
    return isinstance(message, Failure) and message.kind == "CommandNotFound"
