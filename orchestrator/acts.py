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


class PowerAct(StrEnum):
    """What is done to a machine's power."""

    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    SUSPEND = "suspend"
    WAKEUP = "wakeup"


class PowerMode(StrEnum):
    """Who tells the guest to shut down or reboot."""

    AGENT = "agent"  # its agent
    ACPI = "acpi"  # the power button: the guest may not listen
    DEFAULT = "default"  # its agent if it answers, else the power button


class SuspendTarget(StrEnum):
    """Where a suspended guest keeps its memory."""

    MEM = "mem"
    DISK = "disk"
    HYBRID = "hybrid"  # in both


@dataclass(frozen=True)
class PowerRequest:
    """What an operator wants of a machine's power."""

    act: PowerAct
    #: Of a shutdown or a reboot.
    mode: PowerMode = PowerMode.DEFAULT
    #: Of a suspension.
    target: SuspendTarget = SuspendTarget.MEM


#: The channel by which libvirt talks to an agent itself; one of any other name it leaves alone.
LIBVIRT_S_CHANNEL = "org.qemu.guest_agent.0"


class Scope(StrEnum):
    """Where a channel is, or is to be."""

    LIVE = "live"  # in the machine as it runs now
    CONFIG = "config"  # in its definition, from the next start on


@dataclass(frozen=True)
class AgentChannel:
    """A virtio channel of a domain, by which an agent may be reached."""

    name: str
    #: Where it is.
    scopes: tuple[Scope, ...]
    #: Whether something in the guest has opened it; None while the machine is off.
    connected: bool | None
    #: The unix socket on the host; None until libvirt has chosen one.
    path: str | None


def qemu_options(name: str, path: str) -> str:
    """What a QEMU without libvirt is started with to have a channel from then on."""
    return (
        f"-device virtio-serial-pci -chardev socket,id=agent,path={path},server=on,wait=off "
        f"-device virtserialport,chardev=agent,name={name}"
    )
