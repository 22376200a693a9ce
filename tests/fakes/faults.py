"""What can go wrong with one command of the fake agent, in words.

A fault answers two questions: is the command carried out, and what does the client see of it?
"""

import itertools
import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What happens to one command in place of the ordinary."""

    #: Is the command carried out?
    effect: bool = True
    #: False: the client sees nothing at all.
    replies: bool = True
    #: Sent in place of the reply, piece by piece; None: the ordinary reply.
    instead: Iterable[bytes] | None = None
    #: The client's connection is closed in place of the reply.
    disconnects: bool = False
    #: The agent, which does one thing at a time, stands still here before the effect ...
    before: threading.Event = field(default_factory=lambda: _open_gate())
    #: ... and here between the effect and the reply.
    after: threading.Event = field(default_factory=lambda: _open_gate())

    def release(self) -> None:
        """Let the agent go on: the effect lands, and the late reply is sent."""
        self.before.set()
        self.after.set()


def _open_gate() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


def swallowed() -> Fault:
    """No effect, no reply: the command never reached the agent."""
    return Fault(effect=False, replies=False)


def reply_lost() -> Fault:
    """The command is carried out, and nobody hears of it."""
    return Fault(replies=False)


def late() -> Fault:
    """Effect and reply come only when the test calls `release`."""
    return Fault(before=threading.Event())


def late_reply() -> Fault:
    """The effect comes at once, the reply only when the test calls `release`."""
    return Fault(after=threading.Event())


def error(description: str = "it failed", kind: str = "GenericError") -> Fault:
    """No effect, and the agent answers an error."""
    document = {"error": {"class": kind, "desc": description}}
    return Fault(effect=False, instead=[json.dumps(document).encode() + b"\n"])


def answer(value: Any, *, effect: bool = True) -> Fault:
    """The command succeeds with another value: a lie, a wrong type, a negative or a huge count."""
    return Fault(effect=effect, instead=[json.dumps({"return": value}).encode() + b"\n"])


def raw(*pieces: bytes, effect: bool = True) -> Fault:
    """These bytes come in place of the reply."""
    return Fault(effect=effect, instead=pieces)


def garbage() -> Fault:
    """A line that is no JSON."""
    return raw(b"\x00\xc3\x28{[garbage\n")


def nested(levels: int = 100_000) -> Fault:
    """A reply that would exhaust the stack of a careless parser."""
    return raw(b'{"return": ' + b"[" * levels + b"]" * levels + b"}\n")


def endless(piece: bytes = b"x" * 65536) -> Fault:
    """A reply that never ends, until the client goes."""
    return Fault(instead=itertools.repeat(piece))


def disconnect(*, effect: bool) -> Fault:
    """The connection is closed in place of the reply, before or after the effect."""
    return Fault(effect=effect, disconnects=True)
