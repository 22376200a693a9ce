"""The agent's channel through libvirt, which holds the agent's socket of its domains.

Nothing here imports libvirt: `orchestrator.hypervisor` implements `AgentDomain`. Why raw commands and not
libvirt's `fsFreeze`: docs/decisions/0001-libvirt-agent-calls.md.
"""

import os
from collections.abc import Mapping
from typing import Protocol

from orchestrator.agent.channel import Reader, T, settle
from orchestrator.agent.wire import Json, Return, encode, parse
from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown, Unreachable
from orchestrator.model import Way


class AgentDomain(Protocol):
    """One libvirt domain as a way to its agent. Used by one thread at a time; connects when first used."""

    def agent_command(self, command: str, deadline: Deadline) -> str:
        """Hand one command to the agent (`virDomainQemuAgentCommand`) and return the text of its reply.

        `command` is one JSON object, never `guest-sync-delimited`: libvirt's parser gives the agent up for good at the
        sentinel in its reply. The reply is returned as libvirt gives it, unparsed.

        It returns by `deadline`, whatever libvirtd or the guest does. libvirt is given the remaining time as its own
        limit, in whole seconds rounded up, at least 1 and never one of its special values (`-2` is endless): when
        libvirt gives up, it also releases the domain's agent job, which other clients, and our thaw, wait for.
        libvirt may need longer (its own `guest-sync` in front has 5 s, the wait for the agent job 30 s, a stopped
        libvirtd for ever), so the call runs on a thread that is left behind when `deadline` passes. A call that
        was left behind must not stop the next one from being sent.

        Raises
        ------
        Unreachable
            certainly nothing was sent to the agent: no connection, no such domain, domain not running
            (`VIR_ERR_OPERATION_INVALID`), no agent configured or connected (`VIR_ERR_CONFIG_UNSUPPORTED`,
            `VIR_ERR_AGENT_UNRESPONSIVE` with "not connected"), or the agent job is held by another client
            (`VIR_ERR_OPERATION_TIMEOUT`).
        Rejected, CommandDisabled
            the agent answered with an error. libvirt passes on its description only, so CommandDisabled is what
            QEMU's dispatcher says for the class CommandNotFound: "has been disabled", "has not been found".
        OutcomeUnknown
            everything else: `deadline` passed, `VIR_ERR_AGENT_UNRESPONSIVE`, `VIR_ERR_AGENT_UNSYNCED`, the connection
            to libvirtd broke during the call, and any error that is not known.
        """
        ...

    def reset(self) -> None:
        """Drop the connection to libvirt. The next call connects anew. Never raises."""
        ...

    def close(self) -> None:
        """Drop the connection for good. Never raises."""
        ...


class LibvirtChannel:
    """A `Channel` over an `AgentDomain`.

    libvirt brings its socket into step by itself, but an error does not tell whether its `guest-sync` failed or our
    command did. So a `guest-sync` of our own goes in front where we are not sure: when that fails, nothing was sent.
    """

    way = Way.LIBVIRT
    #: A call that was left behind may wait 30 s for the domain's agent job (QEMU_JOB_WAIT_TIME in libvirt's
    #: qemu_domainjob.c) and 5 s for libvirt's own `guest-sync`, and only then send its command.
    linger = 36.0

    def __init__(self, domain: AgentDomain) -> None:
        self._domain = domain
        self._in_step = False

    def sync(self, deadline: Deadline) -> None:
        """Prove that libvirt hands us the reply to our own command. Raises Unreachable: nothing has changed."""
        self._in_step = False
        identity = int.from_bytes(os.urandom(6))
        try:
            reply = self._domain.agent_command(_line("guest-sync", {"id": identity}), deadline)
        except CallError as error:
            raise Unreachable(f"no answer to guest-sync: {error}") from error
        if parse(reply) != Return(identity):
            raise Unreachable("the agent's channel is out of step: its answer to guest-sync is another one's")
        self._in_step = True

    def call(self, command: str, arguments: Mapping[str, Json], read: Reader[T], deadline: Deadline) -> T:
        """Send a command once and return what `read` makes of its reply; see `Channel.call`."""
        if not self._in_step:
            self.sync(deadline)
        try:
            return settle(command, parse(self._domain.agent_command(_line(command, arguments), deadline)), read)
        except (OutcomeUnknown, Unreachable):
            self._in_step = False
            raise

    def reset(self) -> None:
        """Drop the connection to libvirt. The next call connects anew. Never raises."""
        self._in_step = False
        self._domain.reset()

    def close(self) -> None:
        """Drop the connection for good. Never raises."""
        self._domain.close()


def _line(command: str, arguments: Mapping[str, Json]) -> str:
    return encode(command, arguments).decode("ascii")
