"""What the orchestrator and its guard say to each other: one JSON object in each packet of their socket.

A packet is sent whole or not at all, so that nobody ever waits for the rest of a message.
"""

import json
from dataclasses import asdict, dataclass

from orchestrator.model import Machine

#: No message is longer, in bytes.
LONGEST = 64 * 1024

#: A machine in a run: the id of the run, and the name of the machine.
Key = tuple[str, str]


@dataclass(frozen=True)
class Expect:
    """To the guard: this machine will be armed soon."""

    machine: Machine


@dataclass(frozen=True)
class Arm:
    """To the guard: from now on, thaw this machine when I end. It is answered by `Armed`."""

    run: str
    machine: Machine
    #: Path of the record in which the guard writes what it does.
    record: str

    @property
    def key(self) -> Key:
        return self.run, self.machine.name


@dataclass(frozen=True)
class Within:
    """To the guard: what I do now to this machine will be over by then, or I hang."""

    key: Key
    #: Seconds on the monotonic clock, which all processes of a host share (CLOCK_MONOTONIC); None: no limit.
    at: float | None
    #: The guest has answered the freeze: it cannot land later.
    answered: bool


@dataclass(frozen=True)
class Release:
    """To the guard: this machine needs you no longer."""

    key: Key


@dataclass(frozen=True)
class Armed:
    """To the orchestrator: the answer to `Arm`."""

    key: Key
    #: Why the guard could not do anything for this machine; None: it can.
    error: str | None


Message = Expect | Arm | Within | Release | Armed


def encode(message: Message) -> bytes:
    """The packet of a message."""
    return json.dumps({"is": type(message).__name__, **asdict(message)}).encode()


def decode(packet: bytes) -> Message:
    """The message of a packet that `encode` made. Raises ValueError for any other."""
    try:
        document = json.loads(packet)
        kind = document.pop("is")
        if kind == "Expect":
            return Expect(Machine.from_json(document["machine"]))
        if kind == "Arm":
            return Arm(document["run"], Machine.from_json(document["machine"]), document["record"])
        run, machine = document.pop("key")
        kinds: dict[str, type[Within | Release | Armed]] = {"Within": Within, "Release": Release, "Armed": Armed}
        return kinds[kind](key=(run, machine), **document)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a message of the guard: {error!r}") from error
