"""One libvirt domain: seen from outside (`ports.Hypervisor`), and a way to its agent (`agent.libvirt.AgentDomain`)."""

import math
import re
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

import libvirt
import libvirt_qemu

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, CommandDisabled, OutcomeUnknown, Rejected, Unreachable
from orchestrator.hypervisor.connection import LibvirtConnection
from orchestrator.hypervisor.domain_xml import layers, snapshot_xml, writable_disks
from orchestrator.hypervisor.libvirt_copies import LibvirtCopies, is_busy
from orchestrator.hypervisor.libvirt_merges import LibvirtMerges
from orchestrator.model import Disk, Overlay, Power

T = TypeVar("T")

_POWER = {
    libvirt.VIR_DOMAIN_NOSTATE: Power.RUNNING,
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.OFF,
    libvirt.VIR_DOMAIN_SHUTOFF: Power.OFF,
}
_MIGRATIONS = (libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN, libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)

#: What libvirt raises before it sends anything to an agent (qemuDomainAgentAvailable, qemuDomainObjBeginAgentJob).
_AGENT_NOT_ASKED = (
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
)
_AGENT_GAVE_NO_ANSWER = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED)
_AGENT_NOT_CONNECTED = re.compile(r"agent is not (connected|available due to an error)")
#: How libvirt passes an agent's error on: its class is lost, its description is not.
_AGENT_ERROR = re.compile(r"QEMU agent command '[^']*': (?P<description>.*)", re.DOTALL)
#: What QEMU's dispatcher says for the class CommandNotFound (qapi/qmp-dispatch.c).
_AGENT_COMMAND_NOT_FOUND = re.compile(r"command \S+ has (not been found|been disabled)", re.IGNORECASE)


class LibvirtDomain:
    """One domain, reached by a connection of its own, which is made when it is first used."""

    def __init__(self, uri: str, domain: str, clock: Clock) -> None:
        """`uri` is libvirt's (libvirt.org/uri.html), `domain` the domain's name there."""
        self._connection = LibvirtConnection(uri, clock)
        self._name = domain
        self.copies = LibvirtCopies(self._call)
        address = urlsplit(uri)
        #: What a `+ext` command connects to, nobody can tell.
        self.local = not address.hostname and not address.scheme.endswith("+ext")
        self.merges = LibvirtMerges(self._call, delete=not self.local)

    # Seen from outside

    def power(self, deadline: Deadline) -> Power:
        """What the domain is doing: its state, and whether the job that runs on it is a migration."""

        def look(domain: libvirt.virDomain) -> Power:
            state, reason = domain.state()
            if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_MIGRATION:
                return Power.MIGRATING
            if domain.isActive() and domain.jobStats().get("operation") in _MIGRATIONS:
                return Power.MIGRATING
            return _POWER.get(state, Power.PAUSED)

        return self._call("its state", look, deadline)

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        """The writable disks of the domain's live definition, without CD-ROM and floppy drives, and without those that
        the definition itself keeps out of snapshots (`snapshot='no'`).
        """

        def look(domain: libvirt.virDomain) -> tuple[Disk, ...]:
            return tuple(
                Disk(disk.target, disk.target, disk.path, disk.format, domain.blockInfo(disk.target)[0])
                for disk in writable_disks(domain.XMLDesc())
            )

        return self._call("its disks", look, deadline)

    def open_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Nothing: libvirt opens them in the cut, and has no call to do that beforehand."""

    def snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """One `virDomainSnapshotCreateXML` over all disks, which libvirt makes one QEMU transaction.

        The agent is not asked to quiesce: that is our part. Without libvirt's metadata: docs/decisions/0003. A remote
        libvirt makes the overlay files; on this host they are there already.
        """
        self._snapshot(name, overlays, 0, deadline)

    def quiesced_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """`snapshot` with `VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE`: libvirt freezes all file systems, and thaws them after.

        libvirt waits for the agent without a limit of its own. OutcomeUnknown also when it gave its freeze up: that may
        land later, and libvirt does not thaw then.
        """
        self._snapshot(name, overlays, libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE, deadline)

    def _snapshot(self, name: str, overlays: Sequence[Overlay], more: int, deadline: Deadline) -> None:
        flags = more | (
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
        )
        if self.local:
            flags |= libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT

        def cut(domain: libvirt.virDomain) -> None:
            try:
                domain.snapshotCreateXML(snapshot_xml(name, overlays, domain.XMLDesc()), flags)
            except libvirt.libvirtError as error:
                if error.get_error_code() in _AGENT_GAVE_NO_ANSWER:
                    raise OutcomeUnknown(f"libvirt gave up waiting for the agent of {self._name}: {error}") from error
                raise

        self._call(f"the snapshot {name}", cut, deadline)

    def has_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> bool:
        """Whether a disk stands on one of the overlays now, be it the top of its chain or below.

        Raises OutcomeUnknown while libvirt is busy with the domain: a cut that was left behind may be what it does.
        """

        def look(domain: libvirt.virDomain) -> bool:
            busy = domain.isActive() and is_busy(domain)  # before the disks: a cut that ends between the two is seen
            used = layers(domain.XMLDesc())
            if any(overlay.path in used for overlay in overlays):
                return True
            if busy:
                raise OutcomeUnknown(f"libvirt is still busy with the domain {self._name}")
            return False

        return self._call(f"whether it has {name}", look, deadline)

    def close_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Nothing: libvirt closes what it opened when the cut fails."""

    # The way to its agent

    def agent_command(self, command: str, deadline: Deadline) -> str:
        """Hand one command to the agent and return the text of its reply; see `agent.libvirt.AgentDomain`."""

        def ask(connection: libvirt.virConnect) -> str:
            seconds = max(1, math.ceil(deadline.remaining()))
            try:
                return str(libvirt_qemu.qemuAgentCommand(connection.lookupByName(self._name), command, seconds, 0))
            except libvirt.libvirtError as error:
                raise self._agent_error(error) from error

        return self._connection.call(f"the domain {self._name}: its agent", ask, deadline)

    def reset(self) -> None:
        """Drop the connection. The next call connects anew. Never raises."""
        self._connection.reset()

    def close(self) -> None:
        """Drop the connection for good. Never raises."""
        self._connection.reset()

    # How it is carried out

    def _call(self, what: str, work: Callable[[libvirt.virDomain], T], deadline: Deadline) -> T:
        def find_and_work(connection: libvirt.virConnect) -> T:
            try:
                domain = connection.lookupByName(self._name)
            except libvirt.libvirtError as error:
                if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                    raise
                raise Rejected(f"there is no domain {self._name} at {self._connection.uri}") from error
            return work(domain)

        return self._connection.call(f"the domain {self._name}: {what}", find_and_work, deadline)

    def _agent_error(self, error: libvirt.libvirtError) -> CallError:
        """Our word for an error of `virDomainQemuAgentCommand`; see `agent.libvirt.AgentDomain`."""
        code, text = error.get_error_code(), f"the agent of the domain {self._name}: {error}"
        if code in _AGENT_NOT_ASKED:
            return Unreachable(text)
        # What the guest said comes first, or it could pass its own words off as libvirt's.
        passed_on = _AGENT_ERROR.search(text)
        if passed_on is not None:
            disabled = _AGENT_COMMAND_NOT_FOUND.search(passed_on["description"])
            return CommandDisabled(text) if disabled else Rejected(text)
        return Unreachable(text) if _AGENT_NOT_CONNECTED.search(text) else OutcomeUnknown(text)
