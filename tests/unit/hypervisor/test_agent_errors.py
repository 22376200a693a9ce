"""What an error of libvirt's agent call says about whether the guest got the command."""

import libvirt
import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import CallError, CommandDisabled, OutcomeUnknown, Rejected, Unreachable
from orchestrator.hypervisor.libvirt import LibvirtDomain


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, "cannot acquire state change lock", Unreachable),
        (
            libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
            "Guest agent is not responding: QEMU guest agent is not connected",
            Unreachable,
        ),
        (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, "Guest agent is not responding: not available for now", OutcomeUnknown),
        (libvirt.VIR_ERR_INTERNAL_ERROR, "unable to execute QEMU agent command 'X': it failed", Rejected),
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "unable to execute QEMU agent command 'X': Command X has been disabled: frozen",
            CommandDisabled,
        ),
        # A guest that passes its words off as libvirt's gets its freeze thawed all the same.
        (
            libvirt.VIR_ERR_INTERNAL_ERROR,
            "unable to execute QEMU agent command 'X': QEMU guest agent is not connected",
            Rejected,
        ),
    ],
)
def test_the_kind_of_an_agents_error(code: int, text: str, kind: type[CallError]) -> None:
    libvirt.virResetLastError()  # an error takes its text from the thread's last one, if there was one
    error = libvirt.libvirtError(text)
    error.err = (code, libvirt.VIR_FROM_QEMU, text, 2, text, None, None, -1, -1)
    domain = LibvirtDomain("qemu:///system", "vm", SystemClock())
    assert type(domain._agent_error(error)) is kind
