"""A lab guest as a domain under a real libvirtd."""

import json
import pwd
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from tests.lab import libvirtd
from tests.lab.base import AGENT_CHANNEL, Guest
from tests.lab.disks import image_format
from tests.lab.heir import DOMAIN
from tests.lab.image import Image
from tests.lab.libvirtd import URI, virsh
from tests.lab.waiting import PATIENCE, LabError
from tests.lab.wires import ask_agent

QEMU_USER = "libvirt-qemu"


class LibvirtGuest(Guest):
    """A guest as a persistent domain, `name`, at `uri`.

    The channel org.qemu.guest_agent.0 is libvirt's; any other name is hidden from it, and its socket, the first of
    which is `agent_socket`, is free for the product. `qmp_socket` is None: libvirt keeps the monitor for itself.
    Disk 0 is vda, disk 1 vdb, and so on.
    """

    uri = URI

    def _virsh(self, *arguments: str, timeout: float = PATIENCE) -> str:
        """Run virsh on the libvirtd of this guest."""
        return virsh(*arguments, timeout=timeout, uri=self.uri)

    def agent(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
        """Ask the agent, through libvirt where it can, and return its result; `timeout` in seconds."""
        if AGENT_CHANNEL in self.spec.channels:
            request = json.dumps({"execute": command} | ({"arguments": arguments} if arguments else {}))
            seconds = str(max(1, round(timeout)))
            reply = self._virsh("qemu-agent-command", self.name, "--timeout", seconds, request, timeout=timeout + 10)
            return json.loads(reply)["return"]
        if self.agent_socket is None:
            raise LabError("the guest has no agent channel")
        return ask_agent(self.agent_socket, command, arguments, timeout)

    def monitor(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
        """Ask QEMU through libvirt and return the result; `timeout` in seconds."""
        request = json.dumps({"execute": command} | ({"arguments": arguments} if arguments else {}))
        reply = json.loads(self._virsh("qemu-monitor-command", self.name, request, timeout=timeout))
        if "error" in reply:
            raise LabError(f"{command}: {reply['error']}")
        return reply["return"]

    def open_channels(self) -> int:
        """Return how many of the guest's channels libvirt knows to be opened by an agent."""
        domain = ET.fromstring(self._virsh("dumpxml", self.name))  # noqa: S314  (libvirt's own)
        states = [target.get("state") for target in domain.iterfind("devices/channel/target")]
        return states.count("connected")

    def channel_socket(self, name: str) -> Path:
        """Return the socket of one of the guest's hidden channels."""
        return self.work / name.removeprefix("org.qemu.")

    def reusable(self) -> bool:
        """Tell whether another test can take the guest over; forgets its snapshots, whose files stay in use."""
        for name in self._virsh("snapshot-list", self.name, "--name", "--topological").split():
            self._virsh("snapshot-delete", self.name, name, "--metadata")
        return not self._virsh("checkpoint-list", self.name, "--name").strip() and super().reusable()

    def _prepare(self) -> None:
        """Make sure that libvirtd answers."""
        libvirtd.ensure()

    def _launch(self, image: Image) -> None:
        """Define and start the domain, readable by the user that libvirt runs QEMU as."""
        account = pwd.getpwnam(QEMU_USER)
        for path in (self.work, *self.disks):
            shutil.chown(path, account.pw_uid, account.pw_gid)
        # Copied: the cache may lie where libvirt's user cannot go, and libvirt changes the owner of what it boots.
        kernel, initrd = self.work / "kernel", self.work / "initrd"
        shutil.copyfile(image.kernel, kernel)
        shutil.copyfile(image.initrd, initrd)
        hidden = [name for name in self.spec.channels if name != AGENT_CHANNEL]
        self.agent_socket = self.channel_socket(hidden[0]) if hidden else None
        definition = self.work / "domain.xml"
        definition.write_text(self._xml(kernel, initrd))
        (self.work / DOMAIN).write_text(self.name)
        self._virsh("define", str(definition))
        self._virsh("start", self.name, *([] if self._boots else ["--paused"]))

    def _xml(self, kernel: Path, initrd: Path) -> str:
        """Return the domain's definition."""
        domain = ET.Element("domain", type="qemu")
        _add(domain, "name", self.name)
        _add(domain, "memory", str(self.spec.memory_mb), unit="MiB")
        _add(domain, "vcpu", "1")
        system = _add(domain, "os")
        _add(system, "type", "hvm", arch="x86_64", machine="pc")
        _add(system, "kernel", str(kernel))
        _add(system, "initrd", str(initrd))
        _add(system, "cmdline", self.spec.kernel_options())
        _add(_add(domain, "features"), "acpi")
        _add(domain, "cpu", mode="maximum")
        devices = _add(domain, "devices")
        _add(devices, "emulator", "/usr/bin/qemu-system-x86_64")
        self._add_disks(devices)
        self._add_lines(devices)
        _add(devices, "memballoon", model="none")
        _add(devices, "controller", type="usb", model="none")
        return ET.tostring(domain, encoding="unicode")

    def _add_disks(self, devices: ET.Element) -> None:
        """Add the disks."""
        for slot, (path, wanted) in enumerate(zip(self.disks, self.spec.disks, strict=True)):
            disk = _add(devices, "disk", type="file", device="disk")
            _add(disk, "driver", name="qemu", type=image_format(path))
            _add(disk, "source", file=str(path))
            _add(disk, "target", dev=f"vd{chr(ord('a') + slot)}", bus="virtio")
            if wanted.throttle:
                _add(_add(disk, "iotune"), "total_bytes_sec", str(wanted.throttle))

    def _add_lines(self, devices: ET.Element) -> None:
        """Add the serial lines and the agent's channels."""
        serial = _add(devices, "serial", type="unix")
        _add(serial, "source", mode="bind", path=str(self.work / "serial"))
        _add(serial, "target", port="0")
        console = _add(devices, "serial", type="file")
        _add(console, "source", path=str(self.work / "console.log"))
        _add(console, "target", port="1")
        for name in self.spec.channels:
            channel = _add(devices, "channel", type="unix")
            source = {} if name == AGENT_CHANNEL else {"path": str(self.channel_socket(name))}
            _add(channel, "source", mode="bind", **source)
            _add(channel, "target", type="virtio", name=name)

    def _shut_down(self) -> None:
        """Let QEMU close its files and end."""
        self._virsh("destroy", self.name, "--graceful")

    def _end(self) -> None:
        """End the domain and make libvirt forget it."""
        libvirtd.end_domain(self.name)


def _add(parent: ET.Element, tag: str, text: str = "", **attributes: str) -> ET.Element:
    """Add an element to another one and return it."""
    element = ET.SubElement(parent, tag, attributes)
    element.text = text or None
    return element
