"""A libvirtd of one guest's own, which a test may kill: it shares nothing with the lab's but the program.

As root it keeps its state in fixed places, one daemon for each host. So this one has mounts of its own, where a guest's
folders lie over these places, and process ids of its own: with the first of its processes, all end.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

from tests.lab.domain import LibvirtGuest
from tests.lab.image import Image
from tests.lab.libvirtd import KVM, virsh
from tests.lab.places import CHECKOUT, alive, identity
from tests.lab.waiting import PATIENCE, LabError, wait_for

#: What of the guest's folder lies over which place.
PLACES = {
    "run": "/run/libvirt",
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
PID = "/run/libvirt/libvirtd.pid"
#: Says how it goes in a file, and needs nobody to write the logs of its guests.
SETTINGS = {"libvirtd.conf": 'auth_unix_rw = "none"\n', "qemu.conf": 'namespaces = []\nstdio_handler = "file"\n'}


class OwnLibvirtd:
    """A libvirtd at `uri`, with all its state below a folder."""

    def __init__(self, folder: Path) -> None:
        """Make ready what it needs; nothing runs before `start`."""
        self._folder = folder
        self.uri = f"qemu+unix:///system?socket={folder / 'run' / 'libvirt-sock'}"
        for name in PLACES:
            (folder / name).mkdir(parents=True)
        for name, text in SETTINGS.items():
            (folder / "etc" / name).write_text(text)
        mounts = [f"mount --bind {folder / name} {place}" for name, place in PLACES.items()]
        if KVM.exists():  # See `libvirtd`.
            blank = folder / "no-kvm"
            blank.touch(mode=0o000)
            mounts.append(f"mount --bind {blank} {KVM}")
        script = " && ".join([*mounts, 'exec "$@"'])
        self._holder = subprocess.Popen(
            [
                *["unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"],
                *["sh", "-c", script, "sh", sys.executable, "-m", "tests.lab", "parent", "sleep", "infinity"],
            ],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children")
        wait_for(lambda: children.read_text().strip(), PATIENCE, "the first of its processes")
        self._first = int(children.read_text())
        wait_for(lambda: b"infinity" in self._command_line(), PATIENCE, "its mounts")

    @property
    def starting(self) -> str:
        """A command of the shell that starts it, and ends when it can be reached."""
        ready = f"virsh --quiet --connect '{self.uri}' uri >/dev/null 2>&1"
        daemon = f"libvirtd --daemon --config /etc/libvirt/libvirtd.conf --pid-file {PID}"
        return f"{self._inside} {daemon} && until {ready}; do sleep 0.05; done"

    @property
    def killing(self) -> str:
        """A command of the shell that ends it by SIGKILL, and ends when it is gone. Its guests go on."""
        script = f"pid=$(cat {PID}); kill -9 $pid; while kill -0 $pid; do sleep 0.02; done"
        return f"{self._inside} sh -c '{script}' 2>/dev/null"

    def start(self) -> None:
        """Afterwards it can be reached. To be called when it is not running."""
        _carry_out(self.starting)

    def kill(self) -> None:
        """Afterwards it is gone, and its guests go on."""
        _carry_out(self.killing)

    @property
    def runs(self) -> bool:
        """Whether it can be reached."""
        with contextlib.suppress(LabError):
            return bool(virsh("uri", uri=self.uri))
        return False

    @property
    def holder(self) -> str:
        """Which process ends all the others with itself."""
        return identity(self._holder.pid)

    def stop(self) -> None:
        """End it and all its guests, at once; to be called any number of times."""
        first = identity(self._first)
        self._holder.kill()
        self._holder.wait()
        wait_for(lambda: not alive(first), PATIENCE, "the end of libvirtd and its guests")

    @property
    def _inside(self) -> str:
        return f"nsenter --target {self._first} --mount --pid"

    def _command_line(self) -> bytes:
        return Path(f"/proc/{self._first}/cmdline").read_bytes()


class OwnLibvirtGuest(LibvirtGuest):
    """A guest under a libvirtd of its own, `daemon`."""

    daemon: OwnLibvirtd

    def _prepare(self) -> None:
        """Nothing: its libvirtd is started with it."""

    def _saved(self, image: Image) -> Path:
        """Return the folder with the disks of a guest of the lab's libvirtd, which does not differ."""
        return LibvirtGuest(self.spec)._saved(image)

    def _launch(self, image: Image) -> None:
        """Start its libvirtd, and define and start the domain there."""
        self.daemon = OwnLibvirtd(self.work / "libvirt")
        (self.work / "qemu").write_text(self.daemon.holder)
        self.daemon.start()
        self.uri = self.daemon.uri
        super()._launch(image)

    def _end(self) -> None:
        """End libvirtd, and the guest with it."""
        if hasattr(self, "daemon"):
            self.daemon.stop()


def _carry_out(command: str) -> None:
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise LabError(f"{command}: {done.stderr.strip()}")
