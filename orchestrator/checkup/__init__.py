"""How is this machine, for a person: everything that the pre-flight would ask, and what the field has stumbled over.

The hazards are those that others met (loop mounts that deadlock, mounts that no freeze holds, a missing hook that fails
every freeze, a guest that has just booted). `guest.sh` looks for them in the guest, where its agent allows that.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from typing import TypeVar

from orchestrator.clock import Deadline
from orchestrator.errors import CallError, QuiesceError, Unreachable
from orchestrator.model import Health, OsInfo, Power
from orchestrator.ports import Agent, Hypervisor
from orchestrator.preflight import check_agent, check_power, guest_os

T = TypeVar("T")

_SCRIPT = files(__package__).joinpath("guest.sh").read_text(encoding="ascii")
#: Seconds of which a guest is young: its services may still be starting, and its agent has only just come.
_YOUNG = 120
#: How many hazards are told; a host of containers has one overlay for each of them.
_MOST = 20
_EXEC = "guest-exec"

#: On a loop device, but nothing that is written, so that no freeze touches it.
_READ_ONLY = frozenset({"squashfs", "iso9660", "erofs", "udf"})
_ELSEWHERE = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "virtiofs", "afs", "lustre"})

#: What to do where no agent answers, by the guest's operating system.
INSTALL = (
    "in the guest: Debian, Ubuntu: apt-get install qemu-guest-agent; RHEL, Fedora: dnf install qemu-guest-agent; "
    "SUSE: zypper install qemu-guest-agent; Windows: virtio-win-guest-tools.exe of the virtio-win CD. "
    "On the host the machine needs the channel org.qemu.guest_agent.0: `quiesce channel add`"
)


def look(machine: str, hypervisor: Hypervisor | None, agent: Agent, deadline: Deadline) -> Health:
    """Everything that can be told about a machine now, instead of its first objection. Never raises."""
    problems: list[str] = []

    def ask(question: Callable[[], T]) -> T | None:
        try:
            return question()
        except QuiesceError as error:
            problems.append(f"{error}. {error.advice}".strip())
            if isinstance(error, Unreachable) and power is Power.RUNNING:
                problems.append(f"no agent answers. If there is none, install it {INSTALL}")
            return None

    power: Power | None = None
    power = ask(lambda: check_power(hypervisor, deadline))
    if power is Power.PAUSED:
        problems.append("the machine is paused: its agent cannot answer. Resume it.")
        return Health(machine, power, problems=tuple(problems))
    status = ask(lambda: agent.freeze_status(deadline))
    info = None if status is None else ask(lambda: check_agent(agent, (), deadline))
    if info is None:
        return Health(machine, power, freeze_status=status, problems=tuple(problems))
    filesystems = ask(lambda: agent.fsinfo(deadline))
    hazards: list[str] = []
    system = guest_os(agent, deadline)
    if _EXEC in info.enabled and not (system and system.windows):
        found, wrong = _in_guest(agent, deadline)
        hazards += found
        problems += wrong
    return Health(
        machine,
        power,
        info.version,
        status,
        filesystems or (),
        tuple(problems),
        os=_os_name(system),
        exec_allowed=_EXEC in info.enabled,
        hazards=tuple(hazards),
    )


def _os_name(info: OsInfo | None) -> str | None:
    return (info and " ".join(word for word in (info.name or info.id, info.version) if word)) or None


def _in_guest(agent: Agent, deadline: Deadline) -> tuple[list[str], list[str]]:
    """The hazards, and the problems, that the guest itself tells of."""
    try:
        result = agent.execute("/bin/sh", ["-c", _SCRIPT, "quiesce-check"], deadline)
    except CallError as error:
        return [f"hazards could not be looked for in the guest: {error}"], []
    return read(result.output.decode("utf-8", "backslashreplace").splitlines())


def read(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The hazards and the problems that `guest.sh` said. A line that it would not say is passed over."""
    hazards: list[str] = []
    problems: list[str] = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "uptime" and re.fullmatch(r"[0-9]{1,9}", rest) and int(rest) < _YOUNG:
            hazards.append(f"the guest booted {int(rest)} s ago: its services may still be starting")
        elif kind == "hook" and rest.startswith("missing "):
            path = rest.removeprefix("missing ")
            problems.append(f"the agent's freeze hook {path} is not there or not executable: every freeze would fail")
        elif kind == "mount":
            hazards += _of_mount(rest.split(" "))
    if len(hazards) > _MOST:
        hazards[_MOST:] = [f"and {len(hazards) - _MOST} more"]
    return hazards, problems


def _of_mount(words: Sequence[str]) -> Iterator[str]:
    if len(words) != 3:
        return
    kind, source, mount = words
    if source.startswith("/dev/loop") and kind not in _READ_ONLY:
        yield f"{mount} is on a loop device: frozen before it, the file system of its file can make the freeze hang"
    elif kind == "overlay":
        yield f"{mount} is an overlay: it is not frozen itself, and what containers keep in memory is not written"
    elif kind in _ELSEWHERE or kind.startswith("fuse."):
        yield f"{mount} ({kind}) is not on a disk of the machine: it is neither frozen nor in the snapshot"
