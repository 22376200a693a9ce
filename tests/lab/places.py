"""Where the lab keeps things: the cache of built images, and one short-lived work folder per guest.

Work folders carry their owner's identity, so that the leavings of a process that was killed by SIGKILL, whose own
clean-up never ran, are found and removed by the next one. Nothing without our prefix is touched.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "qlab-"
GUEST_PREFIX = "quiesce-lab-"
# Not tempfile.gettempdir(): a path of a unix socket must stay below 108 bytes, and libvirt's user must reach it.
WORK_ROOT = Path("/tmp")
SOURCE = Path(__file__).resolve().parent
CHECKOUT = SOURCE.parent.parent


def cache_root() -> Path:
    """Return the cache folder, made if need be; it keeps itself out of version control."""
    root = Path(os.environ.get("QUIESCE_LAB_CACHE") or CHECKOUT / ".lab").absolute()
    root.mkdir(parents=True, exist_ok=True)
    ignore = root / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")
    return root


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold an exclusive lock in the cache, released by the kernel when its holder dies."""
    with (cache_root() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start_time(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty when there is none (a pid alone is reused)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]  # one that has ended and is not yet reaped is no process


def identity(pid: int) -> str:
    """Return what names one process for ever: its pid and its start time."""
    return f"{pid} {_start_time(pid)}"


def alive(recorded: str) -> bool:
    """Tell whether the process that `identity` described is still the same one."""
    pid = recorded.partition(" ")[0]
    return pid.isdigit() and bool(_start_time(int(pid))) and identity(int(pid)) == recorded


def make_work_folder() -> Path:
    """Make a folder for one guest, which libvirt's user can enter."""
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=WORK_ROOT))
    folder.chmod(0o755)
    (folder / "owner").write_text(identity(os.getpid()))
    return folder


def guest_name(folder: Path) -> str:
    """Return the name of a folder's guest, which no other guest has."""
    return GUEST_PREFIX + folder.name.removeprefix(PREFIX)


def is_stray(name: str) -> bool:
    """Tell whether a name is that of a lab's guest whose folder is not there."""
    suffix = name.removeprefix(GUEST_PREFIX)
    return suffix != name and not (WORK_ROOT / f"{PREFIX}{suffix}").exists()


def kill_recorded(record: Path) -> None:
    """End the process whose identity `record` holds, if it still is that process."""
    try:
        recorded = record.read_text()
    except OSError:
        return
    if alive(recorded):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(recorded.partition(" ")[0]), signal.SIGKILL)


def remove_work_folder(folder: Path) -> None:
    """Remove a guest's folder, after the process that it records."""
    kill_recorded(folder / "qemu")
    shutil.rmtree(folder, ignore_errors=True)


def orphans() -> list[Path]:
    """Return the work folders whose owner has gone."""
    found = []
    for folder in WORK_ROOT.glob(f"{PREFIX}*"):
        try:
            owner = (folder / "owner").read_text()
        except OSError:
            continue  # being made at this moment, or not ours
        if not alive(owner):
            found.append(folder)
    return found
