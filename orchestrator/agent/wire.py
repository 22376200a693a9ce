"""The agent's wire format, without input or output: bytes in, messages out, and commands as bytes.

The agent speaks JSON objects, each ended by a newline (QEMU docs/interop/qemu-ga-ref and `qga/main.c`). A byte 0xFF,
which no UTF-8 text contains, is the sentinel of `guest-sync-delimited`: whatever stood before it is void.

What comes in was written by a guest that may be hostile, so it is bounded here once for everybody: `MAX_MESSAGE`
bytes and `MAX_VALUES` values for one message, `MAX_DEPTH` levels of nesting, `MAX_DIGITS` digits for a whole number,
finite numbers, no object with the same key twice, and only text that can be encoded again. What breaks a bound is one
kind of message, `Noise`.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

#: Bytes. libvirt's RPC carries strings up to the same size; 4 MiB hold the `guest-get-fsinfo` of some 10,000 mounts.
MAX_MESSAGE = 4 * 1024 * 1024
#: Brackets and commas, which is at least the number of values: one takes some 60 bytes here, and 3 on the wire.
MAX_VALUES = 300_000
#: Levels. The deepest reply in the agent's schema, `guest-get-fsinfo`, has 6.
MAX_DEPTH = 16
#: Digits and sign of the longest number that QAPI knows, -2**63.
MAX_DIGITS = 20
#: Characters of an agent's error class and of its description that are kept.
MAX_CLASS = 64
MAX_DESCRIPTION = 400

SENTINEL = b"\xff"

#: A JSON value from the guest. Every type is to be checked before use.
Json = Any


@dataclass(frozen=True)
class Return:
    """`{"return": value}`: the command succeeded."""

    value: Json


@dataclass(frozen=True)
class Failure:
    """`{"error": {"class": ..., "desc": ...}}`: the agent refused the command, or failed at it."""

    kind: str
    description: str


@dataclass(frozen=True)
class Noise:
    """Bytes that are no message of the agent, or break a bound. Nothing of them is kept."""

    reason: str


Message = Return | Failure | Noise


def encode(command: str, arguments: Mapping[str, Json] | None = None) -> bytes:
    """The bytes of one command: ASCII, one line, ended by a newline."""
    document: dict[str, Json] = {"execute": command}
    if arguments:
        document["arguments"] = arguments
    return json.dumps(document).encode("ascii") + b"\n"


def encode_sync(identity: int) -> bytes:
    """The bytes of `guest-sync-delimited`.

    They begin with the sentinel, which makes the agent's parser forget the half of a command that an earlier client
    left there. The agent answers that byte with a parse error, then sends a sentinel of its own, and then `identity`.
    """
    return SENTINEL + encode("guest-sync-delimited", {"id": identity})


class Decoder:
    """A push parser that holds at most `MAX_MESSAGE` bytes and never raises, whatever it is fed."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order.

        A line that grows too long is reported once, as Noise, when it breaks the bound; the rest of it is skipped up
        to the next newline or sentinel. A sentinel voids the bytes since the last newline.
        """
        messages: list[Message] = []
        for piece in _PIECES.findall(data):
            if piece == SENTINEL:
                self._begin_line()
            elif piece == b"\n":
                if self._line.strip():
                    messages.append(parse(self._line))
                self._begin_line()
            elif len(self._line) + len(piece) <= MAX_MESSAGE and not self._skipping:
                self._line += piece
            elif not self._skipping:
                messages.append(Noise(f"a message of more than {MAX_MESSAGE} bytes"))
                self._begin_line()
                self._skipping = True
        return messages

    @property
    def empty(self) -> bool:
        """Whether no message has begun that has not ended."""
        return not self._line and not self._skipping

    def _begin_line(self) -> None:
        self._line.clear()
        self._skipping = False


_PIECES = re.compile(rb"[^\n\xff]+|\n|\xff")


def parse(line: bytes | bytearray | str) -> Message:
    """The message that one line holds; Noise when it holds none. Never raises."""
    if len(line) > MAX_MESSAGE:
        return Noise(f"a message of more than {MAX_MESSAGE} bytes")
    try:
        text = line if isinstance(line, str) else line.decode("utf-8")
        if sum(map(text.count, "[{,")) > MAX_VALUES:
            return Noise(f"a message of more than {MAX_VALUES} values")
        document = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_bounded_int,
            parse_float=_finite_float,
            parse_constant=_no_constant,
        )
        _check_bounds(document)
    except RecursionError:
        return Noise("a message that is nested too deep")
    except ValueError as error:
        return Noise(f"a message that is not JSON as the agent writes it: {type(error).__name__}")
    return _message(document)


def _message(document: Json) -> Message:
    """Tell success from failure. Members that are not known are ignored, as the QMP specification asks for."""
    match document:
        case {"return": _, "error": _}:
            return Noise("a message that is success and failure at once")
        case {"return": value}:
            return Return(value)
        case {"error": {"class": str(kind), "desc": str(description)}}:
            return Failure(kind[:MAX_CLASS], description[:MAX_DESCRIPTION])
    return Noise("a message that is neither success nor failure")


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _check_bounds(document: Json) -> None:
    """Raise RecursionError for more than `MAX_DEPTH` levels, ValueError for text with lone surrogates."""
    level: list[Json] = [document]
    for _ in range(MAX_DEPTH + 1):
        below: list[Json] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str):
                value.encode("utf-8")
        if not below:
            return
        level = below
    raise RecursionError
