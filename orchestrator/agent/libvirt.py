"""The agent's channel through libvirt, which holds the agent's socket of its domains.

Nothing here imports libvirt: `orchestrator.hypervisor` implements `AgentDomain`. Why raw commands and not
libvirt's `fsFreeze`: docs/decisions/0001-libvirt-agent-calls.md.
"""

from typing import Protocol

from orchestrator.clock import Deadline


class AgentDomain(Protocol):
    """One libvirt domain as a way to its agent. Used by one thread at a time; connects when first used."""

    def agent_command(self, command: str, deadline: Deadline) -> str:
        """Hand one command to the agent (`virDomainQemuAgentCommand`) and return the text of its reply.

        `command` is one JSON object. The reply is returned as libvirt gives it, unparsed: libvirt raises for
        an agent's error, and that is converted here, but everything else in it comes from a hostile guest.

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
        CommandDisabled
            the agent's error names the class `CommandNotFound`.
        Rejected
            any other error of the agent.
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
