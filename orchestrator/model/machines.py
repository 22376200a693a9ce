"""Machines, and what they and their agents say of themselves."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FreezeStatus(StrEnum):
    """What the agent *believes* about the guest's file systems (`GuestFsfreezeStatus` in QEMU's qga schema).

    It is not the kernel's state: after a thaw by another hand it still reads `frozen`. The count that a thaw
    answers tells the truth.
    """

    THAWED = "thawed"
    FROZEN = "frozen"


class Way(StrEnum):
    """How an agent is reached."""

    SOCKET = "socket"  # its channel's unix socket
    LIBVIRT = "libvirt"


class Sight(StrEnum):
    """What a look at a machine tells about a freeze."""

    THAWED = "thawed"
    HELD = "held"  # in the window of a run; it was not asked
    STUCK = "stuck"  # an open run froze it, and its thaw is not confirmed
    FOREIGN = "foreign"  # frozen, and by no run of the journal
    SILENT = "silent"  # no answer
    OFF = "off"


class Power(StrEnum):
    """What a machine is doing, seen from outside."""

    RUNNING = "running"
    PAUSED = "paused"
    MIGRATING = "migrating"
    OFF = "off"


@dataclass(frozen=True)
class Machine:
    """A guest, and the ways to it. At least one of `hypervisor` and `agent` is set."""

    name: str
    #: The libvirt connection URI, e.g. `qemu:///system`.
    hypervisor: str | None = None
    #: The libvirt domain; set when `hypervisor` is.
    domain: str | None = None
    #: Path of the agent's unix socket. When set, the guest is frozen by this way; libvirt, where there is a domain, is
    #: the second way to thaw it.
    agent: str | None = None
    #: Path of the QMP unix socket.
    qmp: str | None = None

    def shares_way(self, other: "Machine") -> bool:
        """Whether both are reached by the same domain, or by the same socket, of one host."""
        by_domain = self.domain is not None and (self.hypervisor, self.domain) == (other.hypervisor, other.domain)
        return by_domain or (self.agent is not None and self.agent == other.agent)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Machine":
        """The machine that `dataclasses.asdict` described."""
        return cls(**document)


@dataclass(frozen=True)
class AgentInfo:
    """What the agent says about itself (`guest-info`)."""

    version: str
    #: The names of the commands that it carries out now.
    enabled: frozenset[str]


@dataclass(frozen=True)
class OsInfo:
    """What the guest says about its operating system (`guest-get-osinfo`). Every field may be missing there."""

    id: str | None
    name: str | None
    version: str | None
    kernel: str | None

    @property
    def windows(self) -> bool:
        return self.id == "mswindows"


@dataclass(frozen=True)
class Filesystem:
    """One mounted file system of the guest (`guest-get-fsinfo`)."""

    mountpoint: str
    #: The block device as the guest names it.
    device: str
    type: str


@dataclass(frozen=True)
class ExecResult:
    """How a command in the guest ended (`guest-exec-status`)."""

    #: None when it was ended by a signal.
    exit_code: int | None
    output: bytes
    error_output: bytes


@dataclass(frozen=True)
class Health:
    """Whether a machine could be quiesced now: the pre-flight as a report."""

    machine: str
    power: Power | None = None
    agent_version: str | None = None
    freeze_status: FreezeStatus | None = None
    filesystems: tuple[Filesystem, ...] = ()
    #: What stands in the way, each with what to do about it. Empty: ready.
    problems: tuple[str, ...] = ()
    #: The guest's operating system, as it calls itself.
    os: str | None = None
    #: Whether the agent may run programs (`guest-exec`), which `pre_flush` and looking for hazards need.
    exec_allowed: bool | None = None
    #: What a freeze may stumble over; a machine with hazards is ready all the same.
    hazards: tuple[str, ...] = ()
    #: The open run of this journal that holds the machine, and may have frozen it.
    held_by: str | None = None
    #: Milliseconds from the freeze to the confirmed thaw, of the last runs, newest first.
    last_windows_ms: tuple[float, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Sighting:
    """What was seen of a machine in a sweep."""

    machine: str
    saw: Sight
    #: The open run that keeps it.
    run: str | None = None
    #: Why it is stuck or silent; who holds it.
    detail: str | None = None
