"""The command `quiesce`, to which something happens at one boundary: `python -m tests.matrix.doomed WORDS...`.

What crosses a seam is wrapped from outside, in the classes that stand behind it, so that nothing of the product knows
of it. The environment says what happens:

    QUIESCE_CROSSED  a file, to which each boundary's name is added before it is crossed
    QUIESCE_DEEDS    a JSON object: at which boundary which command of the shell is carried out, before anything else
    QUIESCE_DOOM     the name of the boundary at which the process is ended by SIGKILL; without it, it is let live
    QUIESCE_HEIRS    `guard`: its guard is ended a moment before it
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

from orchestrator import main
from orchestrator.agent.guest import GuestAgent
from orchestrator.drivers.backup import BackupDriver
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.guard.leases import ProcessGuard
from orchestrator.hypervisor.qmp_merges import BareMerges
from orchestrator.journal import SqlJournal

#: What stands behind each seam, and those of its calls that leave the process.
SEAMS: dict[str, tuple[type, tuple[str, ...]]] = {
    "agent": (GuestAgent, ("sync", "ping", "info", "osinfo", "fsinfo", "freeze_status", "freeze", "thaw")),
    "driver": (ExternalSnapshot, ("plan", "prepare", "cut", "happened", "discard")),
    "backup": (BackupDriver, ("plan", "prepare", "cut", "copied", "publish", "happened", "discard")),
    "merges": (BareMerges, ("begin", "progress", "close")),
    "guard": (ProcessGuard, ("prepare", "arm", "tell", "record")),
    "journal": (SqlJournal, ("open_run", "record", "move", "take_over", "run", "open_runs", "snapshots", "history")),
}


class Doom:
    """Counts the boundaries by name, and lets happen what is to happen at one of them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._crossed = Path(environment["QUIESCE_CROSSED"])
        self._end, self._with_guard = environment.get("QUIESCE_DOOM"), environment.get("QUIESCE_HEIRS") == "guard"
        self._deeds: dict[str, str] = json.loads(environment.get("QUIESCE_DEEDS", "{}"))
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    def cross(self, name: str) -> None:
        """Come to a boundary."""
        with self._lock:
            self._counts[name] += 1
            count = self._counts[name]
            name = name if count == 1 else f"{name}, {count}"
            with self._crossed.open("a") as file:
                file.write(f"{name}\n")
        if name in self._deeds:
            subprocess.run(["sh", "-c", self._deeds[name]], stdout=subprocess.DEVNULL, check=True)
        if name == self._end:
            if self._with_guard:
                for guard in guards(os.getpid()):
                    os.kill(guard, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: type, call: str, name: str) -> None:
        """Let a call cross a boundary before and after."""
        real: Callable[..., Any] = getattr(owner, call)

        @wraps(real)
        def crossing(*arguments: Any, **keys: Any) -> Any:
            self.cross(f"before {name}")
            try:
                return real(*arguments, **keys)
            finally:
                self.cross(f"after {name}")

        setattr(owner, call, crossing)


def guards(parent: int) -> list[int]:
    """The process ids of the guards of a process."""
    threads = Path(f"/proc/{parent}/task").iterdir()
    children = [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return [child for child in children if b"guard_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def wrap_seams() -> None:
    """Do to this process what its environment says."""
    doom = Doom(os.environ)
    for seam, (owner, calls) in SEAMS.items():
        for call in calls:
            doom.wrap(owner, call, f"{seam}.{call}")


if __name__ == "__main__":
    sys.argv[0] = "quiesce"
    wrap_seams()
    main.main()
