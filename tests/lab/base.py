"""What every lab guest has, whoever runs it: what it is made of, and its life from start to stop."""

import atexit
import contextlib
import shutil
import subprocess
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.lab.control import GuestControl
from tests.lab.disks import MOUNTS, Disk, make_disk
from tests.lab.heir import appoint_heir, dismiss_heir
from tests.lab.image import Image, ensure_image
from tests.lab.places import guest_name, make_work_folder, remove_work_folder
from tests.lab.saved import ensure_saved, load, save
from tests.lab.serial_line import Answer, SerialLine
from tests.lab.waiting import PATIENCE, LabError

AGENT_CHANNEL = "org.qemu.guest_agent.0"
HIDDEN_CHANNEL = "org.qemu.guest_agent.1"
# tsc=reliable: no watchdog that gives up the clock when the host is busy. mitigations=off: emulated system calls are
# slow enough without.
KERNEL_OPTIONS = "console=ttyS1 quiet loglevel=5 tsc=reliable no_timer_check mitigations=off nokaslr panic=-1"
#: Seconds; an emulated guest on a busy host may take its time.
BOOT_SECONDS = 90.0
# A snapshot of a shared guest leaves one more file in the chain of each disk.
DEEPEST_CHAIN = 12


@dataclass(frozen=True)
class Spec:
    """What a guest is made of.

    `channels` are the names of its virtio-serial ports; the guest runs one agent on each. Without any it has no agent
    that can be reached. `start_agent` false leaves the agent off at boot.
    """

    disks: tuple[Disk, ...] = (Disk("ext4"), Disk("xfs"))
    memory_mb: int = 160
    channels: tuple[str, ...] = (AGENT_CHANNEL,)
    start_agent: bool = True

    def to_save(self) -> "Spec":
        """Return the spec of the guest whose saved state this one can be started from: only its disks are not slow."""
        return replace(self, disks=tuple(replace(disk, throttle=None) for disk in self.disks))

    def savable(self) -> bool:
        """Tell whether a guest that has booted stands for any other: what a given image holds is known to the test."""
        return bool(self.disks) and all(disk.image is None for disk in self.disks)

    def mounts(self) -> tuple[str, ...]:
        """Return where each disk is mounted; "-" for one that is not."""
        return tuple(disk.mount or MOUNTS[slot] for slot, disk in enumerate(self.disks))

    def kernel_options(self) -> str:
        """Return the kernel's command line, which also tells the guest's init what to do."""
        agent = "yes" if self.start_agent else "no"
        return f"{KERNEL_OPTIONS} lab.mounts={','.join(self.mounts())} lab.agent={agent}"


class Guest(GuestControl):
    """The life of a guest, whoever runs it: a work folder, disks, a serial line.

    `agent_socket` and `qmp_socket` are what the product may be given; None where this form of a guest has none.
    `disks` are the files that it was started with: after a snapshot they are backing files. `start_seconds` is how long
    it took from the start until the guest could be used.
    """

    def __init__(self, spec: Spec | None = None, *, boots: bool = False) -> None:
        """Prepare a guest; nothing exists before `start`. With `boots` it boots, whatever has been saved."""
        self.spec = spec or Spec()
        self.disks: list[Path] = []
        self.agent_socket: Path | None = None
        self.qmp_socket: Path | None = None
        self.start_seconds = 0.0
        self._boots = boots or not self.spec.savable()
        self._work: Path | None = None
        self._serial: SerialLine | None = None
        self._heir: subprocess.Popen[bytes] | None = None

    @property
    def work(self) -> Path:
        """Return the guest's folder, which is removed by `stop`."""
        if self._work is None:
            raise LabError("the guest is not started")
        return self._work

    @property
    def name(self) -> str:
        """Return a name that no other guest has."""
        return guest_name(self.work)

    @property
    def mounts(self) -> tuple[str, ...]:
        """Return where the guest's disks are mounted."""
        return tuple(mount for mount in self.spec.mounts() if mount != "-")

    @property
    def channel_count(self) -> int:
        """Return how many channels the guest has."""
        return len(self.spec.channels)

    def start(self) -> Self:
        """Start the guest without waiting for it; what was begun is undone when that fails."""
        image = ensure_image()
        self._prepare()
        saved = None if self._boots else self._saved(image)
        self._work = make_work_folder()
        # After what _prepare has registered, hence before it when the process ends.
        atexit.register(self.stop)
        begun = time.monotonic()
        try:
            self._heir = appoint_heir(self.work)
            self._make_disks(saved)
            self._launch(image)
            if saved is not None:
                load(self.monitor)
            self._serial = SerialLine(self.work / "serial")
        except BaseException:
            self.stop()
            raise
        self._begun = begun
        return self

    def wait_ready(self, timeout: float = BOOT_SECONDS) -> Self:
        """Wait until the guest is up, its disks are mounted and its agent was started."""
        if self._serial is None:
            raise LabError("the guest is not started")
        try:
            if self._boots:
                self._serial.wait_ready(timeout)
            else:
                # Its clock stood still while it was saved.
                self.shell(f"date -s @{time.time():.0f}", timeout)
        except LabError as error:
            raise LabError(f"{error}\n{self.console()[-2000:]}") from error
        if self.spec.start_agent:
            self.wait_agent()
        self.start_seconds = time.monotonic() - self._begun
        return self

    def stop(self) -> None:
        """End the guest and remove all that was its; to be called any number of times."""
        if self._serial is not None:
            self._serial.close()
            self._serial = None
        if self._heir is not None:
            dismiss_heir(self._heir)
            self._heir = None
        if self._work is not None:
            self._end()
            remove_work_folder(self._work)
            self._work = None
        atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self.start().wait_ready()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def console(self) -> str:
        """Return what the guest's kernel and init have said so far."""
        with contextlib.suppress(OSError):
            return (self.work / "console.log").read_text(errors="replace")
        return ""

    def run(self, script: str, timeout: float = PATIENCE) -> Answer:
        """Run a shell script in the guest over the serial line and return how it ended; `timeout` in seconds."""
        if self._serial is None:
            raise LabError("the guest is not started")
        return self._serial.wait(self._serial.start(script), timeout)

    @abstractmethod
    def monitor(self, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
        """Ask QEMU itself (QMP) on a path that is not the product's, and return the result; `timeout` in seconds."""

    def reusable(self) -> bool:
        """Tell whether QEMU is in a state in which another test can take the guest over."""
        blocks = [block["inserted"] for block in self.monitor("query-block") if "inserted" in block]
        shallow = all(block["backing_file_depth"] <= DEEPEST_CHAIN for block in blocks)
        return shallow and not self.monitor("query-block-jobs") and bool(self.monitor("query-status")["running"])

    def _prepare(self) -> None:
        """Bring up what the guest needs on the host; a QEMU of our own needs nothing."""

    @abstractmethod
    def _launch(self, image: Image) -> None:
        """Start QEMU and set the sockets' attributes."""

    @abstractmethod
    def _shut_down(self) -> None:
        """Let QEMU close its files and end."""

    @abstractmethod
    def _end(self) -> None:
        """End QEMU, whatever state it is in."""

    def active_disks(self) -> list[Path]:
        """Return the files that the guest writes to now, which a snapshot changes."""
        blocks = self.monitor("query-block")
        return [Path(block["inserted"]["image"]["filename"]) for block in blocks if "inserted" in block]

    def _saved(self, image: Image) -> Path:
        """Return the folder with the disks of a guest of this form and spec that has booted."""

        spec = self.spec.to_save()

        def boot_and_save(folder: Path) -> bool:
            with type(self)(spec, boots=True) as guest:
                if not guest.keeps_time():
                    return False
                save(guest.monitor)
                guest._shut_down()
                for disk in guest.disks:
                    shutil.copyfile(disk, folder / disk.name)
            return True

        return ensure_saved(f"{type(self).__name__} {spec} {image}", boot_and_save)

    def _make_disks(self, saved: Path | None) -> None:
        """Make the files of the disks: empty, as they were saved, or the given ones."""
        self.disks = []
        for slot, disk in enumerate(self.spec.disks):
            path = disk.image or self.work / f"disk{slot}.qcow2"
            if saved is not None:
                shutil.copyfile(saved / path.name, path)
            elif disk.image is None:
                make_disk(path, disk.size_mb, disk.fstype, slot)
            self.disks.append(path)
