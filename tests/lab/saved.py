"""Guests that have booted already: the first of each kind boots and is saved, all others are started from what it left.

An emulated guest takes five seconds of processor time to boot, and half a second to be loaded. QEMU saves what the
guest has in memory into the guest's own first disk, as an internal snapshot over all of its disks, so that memory and
disks cannot disagree. The copies lose that snapshot when they are loaded: the tests know nothing of it.
"""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.places import SOURCE, cache_root, locked
from tests.lab.waiting import PATIENCE, LabError

TAG = "booted"
BOOTS = 5
QEMU = Path("/usr/bin/qemu-system-x86_64")
#: What lays out a guest's devices and its kernel's command line.
LAYOUT = ("base.py", "disks.py", "domain.py", "guest.py", "saved.py")

Monitor = Callable[..., Any]


def ensure_saved(kind: str, boot_and_save: Callable[[Path], bool]) -> Path:
    """Return the folder with the saved disks of a kind of guest, filled by `boot_and_save` if the cache has none.

    That returns whether the guest which it booted was worth it. Raises LabError when none of several was.
    """
    digest = hashlib.sha256(f"{kind} {QEMU.stat().st_size} {QEMU.stat().st_mtime_ns}".encode())
    for name in LAYOUT:
        digest.update((SOURCE / name).read_bytes())
    folder = cache_root() / f"saved-{digest.hexdigest()[:16]}"
    with locked(folder.name):
        if not folder.exists():
            with tempfile.TemporaryDirectory(prefix="saving-", dir=cache_root()) as aside:
                filled = Path(aside) / "filled"
                filled.mkdir()
                if not any(boot_and_save(filled) for _ in range(BOOTS)):
                    raise LabError(f"{BOOTS} guests were booted, and none had a clock that is right")
                filled.rename(folder)
    return folder


def save(monitor: Monitor) -> None:
    """Stop a guest and put its memory into its disks, which hold it when QEMU has closed them."""
    monitor("stop")
    _command(monitor, f"savevm {TAG}")


def load(monitor: Monitor) -> None:
    """Let a QEMU that was started paused, on copies of saved disks, go on where the saved guest stood."""
    _command(monitor, f"loadvm {TAG}")
    _command(monitor, f"delvm {TAG}")
    monitor("cont")


def _command(monitor: Monitor, line: str) -> None:
    """Give a command to QEMU's monitor for people, which has these in one step, and says nothing when all is well."""
    said = monitor("human-monitor-command", {"command-line": line}, timeout=PATIENCE)
    if said:
        raise LabError(f"{line}: {said.strip()}")
