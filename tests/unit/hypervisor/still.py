"""A QEMU that never boots."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.clock import Deadline, SystemClock
from orchestrator.hypervisor.qmp import BareMachine
from tests.lab import ask_qmp, listens, wait_for
from tests.lab.kernel import run_tool

MIB = 1 << 20


def within(seconds: float) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def image(path: Path, kind: str = "qcow2", *options: str) -> Path:
    run_tool("qemu-img", "create", "-f", kind, *options, str(path), str(MIB))
    return path


class Still:
    """A QEMU whose processor was never started. The lab looks on from a second monitor."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.machine = BareMachine(str(folder / "qmp"))
        self._lab = folder / "lab"
        monitors = [f"unix:{folder / name},server=on,wait=off" for name in ("qmp", "lab")]
        self._process = subprocess.Popen(
            [
                *["qemu-system-x86_64", "-S", "-machine", "pc", "-accel", "tcg", "-nodefaults", "-display", "none"],
                *["-qmp", monitors[0], "-qmp", monitors[1], *arguments],
            ]
        )
        wait_for(lambda: listens(self._lab), 30, "QEMU's monitor")

    def ask(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        return ask_qmp(self._lab, command, arguments, 10)

    def end(self) -> None:
        self.machine.close()
        self._process.kill()
        self._process.wait()


StillQemu = Callable[..., Still]
