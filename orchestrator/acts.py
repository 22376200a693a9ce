"""What an operator asks of one machine, as values."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Question(StrEnum):
    """What the agent can be asked. Frozen, it answers `ping` and `info` only."""

    PING = "ping"
    INFO = "info"
    OSINFO = "osinfo"
    FSINFO = "fsinfo"
    USERS = "users"
    TIME = "time"
    HOSTNAME = "hostname"
    INTERFACES = "interfaces"
    TRIM = "trim"  # the only one that changes something: the guest gives the space of deleted files back


@dataclass(frozen=True)
class Answer:
    """What a machine answered to its operator."""

    machine: str
    #: What was asked.
    question: str
    #: The run in whose history the question is.
    run: str
    #: An object, a list of objects, or what a raw command returned: JSON values only.
    value: Any
