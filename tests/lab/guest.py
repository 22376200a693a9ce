"""A lab guest in its bare form: a QEMU process without libvirt."""

import subprocess
from pathlib import Path
from typing import Any

from tests.lab.base import Guest
from tests.lab.disks import image_format
from tests.lab.image import Image
from tests.lab.places import identity
from tests.lab.waiting import PATIENCE, LabError, wait_for
from tests.lab.wires import ask_agent, ask_qmp, listens


class BareGuest(Guest):
    """A guest as a QEMU process of our own, reached by its sockets.

    `qmp_socket` is left to the product: the lab uses a second monitor. The node above disk 0 is named `disk0`, its file
    `disk0-file`, its device `vd0`, and so on.
    """

    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Return QEMU's process id."""
        if self._process is None:
            raise LabError("the guest is not started")
        return self._process.pid

    def agent(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
        """Ask the agent, by the lab's own client, and return its result; `timeout` in seconds."""
        if self.agent_socket is None:
            raise LabError("the guest has no agent channel")
        return ask_agent(self.agent_socket, command, arguments, timeout)

    def monitor(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
        """Ask QEMU by the lab's own monitor and return the result; `timeout` in seconds."""
        return ask_qmp(self.work / "lab-qmp", command, arguments, timeout)

    def open_channels(self) -> int:
        """Return how many of the guest's channels an agent has opened."""
        ends = {device["label"]: device["frontend-open"] for device in self.monitor("query-chardev")}
        return sum(ends[f"agent{slot}"] for slot in range(self.channel_count))

    def channel_socket(self, name: str) -> Path:
        """Return the socket of one of the guest's channels."""
        return self.work / f"agent{self.spec.channels.index(name)}"

    def _launch(self, image: Image) -> None:
        """Start QEMU and set the sockets' attributes."""
        self.qmp_socket = self.work / "qmp"
        self.agent_socket = self.channel_socket(self.spec.channels[0]) if self.spec.channels else None
        command = [*self._machine(image), *self._channels(), *self._drives()]
        with (self.work / "qemu.log").open("wb") as log:
            # Its own session: a Ctrl-C on the terminal is for the tests, whose clean-up then ends it.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        (self.work / "qemu").write_text(identity(self._process.pid))
        wait_for(lambda: self._died() or listens(self.work / "lab-qmp"), PATIENCE, "QEMU's monitor")
        self._throttle()

    def _died(self) -> bool:
        """Raise LabError with QEMU's last words when it has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise LabError(f"QEMU ended: {(self.work / 'qemu.log').read_text(errors='replace').strip()}")
        return False

    def _machine(self, image: Image) -> list[str]:
        """Return the part of the command line that makes the machine, its monitors and its serial lines."""
        monitors = []
        for name in ("qmp", "lab-qmp"):
            monitors += ["-chardev", f"socket,id={name},path={self.work / name},server=on,wait=off"]
            monitors += ["-mon", f"chardev={name},mode=control"]
        # Never KVM: a /dev/kvm that opens may still not boot a guest.
        return [
            *["qemu-system-x86_64", "-name", self.name, "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-smp", "1"],
            *["-m", str(self.spec.memory_mb), "-nodefaults", "-no-user-config", "-display", "none"],
            *["-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", self.spec.kernel_options()],
            *["-serial", f"unix:{self.work / 'serial'},server=on,wait=off"],
            *["-serial", f"file:{self.work / 'console.log'}"],
            *monitors,
            *([] if self._boots else ["-S"]),
        ]

    def _channels(self) -> list[str]:
        """Return the part of the command line for the agent's channels."""
        arguments = ["-device", "virtio-serial-pci"] if self.spec.channels else []
        for slot, name in enumerate(self.spec.channels):
            arguments += ["-chardev", f"socket,id=agent{slot},path={self.channel_socket(name)},server=on,wait=off"]
            arguments += ["-device", f"virtserialport,chardev=agent{slot},name={name}"]
        return arguments

    def _drives(self) -> list[str]:
        """Return the part of the command line for the disks."""
        arguments = []
        for slot, path in enumerate(self.disks):
            node = f"disk{slot}"
            arguments += ["-blockdev", f"driver=file,node-name={node}-file,filename={path}"]
            arguments += ["-blockdev", f"driver={image_format(path)},node-name={node},file={node}-file"]
            arguments += ["-device", f"virtio-blk-pci,drive={node},id=vd{slot}"]
        return arguments

    def _throttle(self) -> None:
        """Slow down the disks that want it. At the device, so that it also holds after a snapshot."""
        rest = ("bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr")
        for slot, disk in enumerate(self.spec.disks):
            if disk.throttle:
                device = f"/machine/peripheral/vd{slot}/virtio-backend"
                limits = {"id": device, "bps": disk.throttle} | dict.fromkeys(rest, 0)
                self.monitor("block_set_io_throttle", limits)

    def _shut_down(self) -> None:
        """Let QEMU close its files and end."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def _end(self) -> None:
        """Kill QEMU: there is nothing in a lab guest worth a shutdown."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
