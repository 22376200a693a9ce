"""A real libvirtd, also where there is no systemd: started when none answers, and ended when the last user has gone.

Several test processes may use one daemon at a time. Each holds a shared lock for as long as it does; who gets that lock
for itself alone is the last one, and ends the daemon. A daemon that the lab did not start is never ended.
"""

import atexit
import contextlib
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tests.lab.places import CHECKOUT, alive, identity
from tests.lab.waiting import LabError, wait_for

URI = "qemu:///system"
SOCKET = Path("/run/libvirt/libvirt-sock")
# Not in the cache: there is one libvirtd per host, whatever checkout the tests run from.
STATE = Path("/run/quiesce-lab")
KVM = Path("/dev/kvm")
SETTINGS = Path("/etc/libvirt/qemu.conf")
LOGS = Path("/var/log/libvirt/qemu")
DAEMONS = ("virtlogd", "libvirtd")
START_SECONDS = 60.0

_held: TextIO | None = None


def virsh(*arguments: str, timeout: float = 60.0, uri: str = URI) -> str:
    """Run virsh on a libvirtd, the lab's unless told, and return its output; LabError with what it said if it fails."""
    command = ["virsh", "--quiet", "--connect", uri, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(command)}: no end after {timeout:g} s") from error
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def answers() -> bool:
    """Tell whether a libvirtd answers."""
    with contextlib.suppress(LabError):
        return bool(virsh("uri", timeout=30))
    return False


def ensure() -> None:
    """Make sure that libvirtd answers until `release`, or until this process ends."""
    global _held
    STATE.mkdir(exist_ok=True)
    with _changing():
        if not answers():
            start()
        if _held is None:
            _held = (STATE / "users").open("a")
            fcntl.flock(_held, fcntl.LOCK_SH)
            atexit.register(release)


def release() -> None:
    """Let go of libvirtd; the last user ends what the lab started."""
    global _held
    if _held is None:
        return
    with _changing(), _held, contextlib.suppress(BlockingIOError):
        fcntl.flock(_held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for daemon in reversed(DAEMONS):
            _end(daemon)
    _held = None
    atexit.unregister(release)


@contextlib.contextmanager
def _changing() -> Iterator[None]:
    """Keep other processes from starting or ending the daemons meanwhile."""
    with (STATE / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start() -> None:
    """Start the daemons that are not running and wait until they answer; also after `kill`."""
    for daemon in DAEMONS:
        if not _running(daemon):
            _launch(daemon)
            (STATE / daemon).write_text(identity(_pid(daemon)))
    wait_for(answers, START_SECONDS, "libvirtd")


def _launch(daemon: str) -> None:
    """Start one daemon; where there is a /dev/kvm, in a mount namespace in which an unreadable file lies over it.

    Where root can open that device and QEMU's user cannot, libvirt takes what it knows of QEMU for outdated on every
    call and probes anew, 4 s each time; and a device that opens may still not boot a guest. libvirt's own namespaces
    cannot cope with such a file, so a setting that switches them off is laid over its configuration.
    """
    command = [daemon]
    if KVM.exists() and SETTINGS.exists():
        blank, settings = STATE / "no-kvm", STATE / "qemu.conf"
        blank.touch(mode=0o000)
        settings.write_text("namespaces = []\n")
        script = 'mount --bind "$1" "$2" && mount --bind "$3" "$4" && shift 4 && exec "$@"'
        hidden = ["sh", "-c", script, "sh", str(blank), str(KVM), str(settings), str(SETTINGS)]
        command = ["unshare", "--mount", "--propagation", "slave", *hidden, *command]
    log = STATE / f"{daemon}.log"
    with log.open("wb") as out:
        parent = subprocess.Popen(
            [sys.executable, "-m", "tests.lab", "parent", *command],
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    wait_for(lambda: _running(daemon) or parent.poll() is not None, START_SECONDS, f"{daemon}'s pid file")
    if not _running(daemon):
        raise LabError(f"{daemon}: {log.read_text(errors='replace').strip()}")
    parent.returncode = 0  # it outlives this process on purpose, and nobody waits for it


def be_parent(command: list[str]) -> None:
    """Run a daemon, and be the parent of all that it leaves behind until the last of them has ended.

    libvirt takes a QEMU that has ended for alive until its parent has taken note, and in a container the first process
    may be slow to: each end of a guest, and each probe of QEMU, took 2 s longer.
    """
    set_child_subreaper = 36  # of linux/prctl.h
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    child = subprocess.Popen(command)
    child.returncode = 0  # waited for below
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def end_domain(name: str) -> None:
    """End a domain and remove all that libvirt keeps of it; nothing happens when there is none.

    A libvirtd that a test has ended is started again for that. Raise LabError when the domain is still there then.
    """
    ensure()
    with contextlib.suppress(LabError):
        virsh("destroy", name)
    with contextlib.suppress(LabError):
        virsh("undefine", name, "--snapshots-metadata", "--checkpoints-metadata")
    if name in domains():
        raise LabError(f"the domain {name} could not be ended")
    (LOGS / f"{name}.log").unlink(missing_ok=True)


def domains() -> list[str]:
    """Return the names of all domains, running or not."""
    return virsh("list", "--all", "--name").split()


def kill(number: int = signal.SIGKILL) -> None:
    """Send libvirtd a signal, by default one that it cannot clean up after; only if the lab started it."""
    if not _ours("libvirtd"):
        raise LabError("libvirtd was not started by the lab")
    os.kill(_pid("libvirtd"), number)
    if number == signal.SIGKILL:
        wait_for(lambda: not _running("libvirtd"), START_SECONDS, "the end of libvirtd")


def _end(daemon: str) -> None:
    """End one daemon if it is the one that the lab started, and wait for the process, which outlives its pid file."""
    if _ours(daemon):
        recorded, pid = identity(_pid(daemon)), _pid(daemon)
        os.kill(pid, signal.SIGTERM)
        try:
            wait_for(lambda: not alive(recorded), 10, f"the end of {daemon}")
        except LabError:
            os.kill(pid, signal.SIGKILL)
    (STATE / daemon).unlink(missing_ok=True)


def _pid(daemon: str) -> int:
    """Return the pid that a daemon has written down, 0 when there is none."""
    try:
        return int(Path(f"/run/{daemon}.pid").read_text())
    except (OSError, ValueError):
        return 0


def _running(daemon: str) -> bool:
    """Tell whether the process of a daemon's pid file is there."""
    pid = _pid(daemon)
    try:
        return alive(identity(pid)) and Path(f"/proc/{pid}/comm").read_text().strip() == daemon
    except OSError:
        return False


def _ours(daemon: str) -> bool:
    """Tell whether the running daemon is the one that the lab started."""
    try:
        recorded = (STATE / daemon).read_text()
    except OSError:
        return False
    return alive(recorded) and recorded == identity(_pid(daemon))
