"""Real guests for tests, demonstrations and benchmarks: the distribution's kernel, the real agent, a few seconds.

`BareGuest` is a QEMU process of our own, `LibvirtGuest` a domain under a real libvirtd; both are emulated (TCG), so
they run where there is no hardware virtualization. Each has the same helpers, see `control.GuestControl`:

    with BareGuest(Spec(disks=(Disk("ext4", throttle=20 << 20), Disk("xfs")))) as guest:
        guest.start_writer()
        guest.agent("guest-fsfreeze-freeze")
        guest.frozen_mounts()  # the kernel's word, not the agent's
        guest.shell("echo the serial line works meanwhile")

Tests take guests from `fixtures`, and prove what an image holds by `proof`.
"""

from tests.lab.base import AGENT_CHANNEL, HIDDEN_CHANNEL, Guest, Spec
from tests.lab.control import Stall
from tests.lab.disks import Disk, make_disk
from tests.lab.domain import LibvirtGuest
from tests.lab.guest import BareGuest
from tests.lab.image import Image, ensure_image
from tests.lab.serial_line import Answer
from tests.lab.waiting import PATIENCE, LabError, LabTimeout, wait_for
from tests.lab.wires import WireError, ask_agent, ask_qmp, listens

__all__ = [
    "AGENT_CHANNEL",
    "HIDDEN_CHANNEL",
    "PATIENCE",
    "Answer",
    "BareGuest",
    "Disk",
    "Guest",
    "Image",
    "LabError",
    "LabTimeout",
    "LibvirtGuest",
    "Spec",
    "Stall",
    "WireError",
    "ask_agent",
    "ask_qmp",
    "ensure_image",
    "listens",
    "make_disk",
    "wait_for",
]
