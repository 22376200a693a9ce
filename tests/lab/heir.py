"""Nothing outlives its owner: a guest's heir, and the search for the leavings of those who had none.

The heir is a small process per guest that waits for its owner's end of a pipe to close, which also happens when the
owner is killed by SIGKILL, and then ends the guest and removes its folder. It waits as a
shell, which costs next to nothing.
"""

import subprocess
import sys
from pathlib import Path

from tests.lab import libvirtd
from tests.lab.places import CHECKOUT, is_stray, orphans, remove_work_folder

DOMAIN = "domain"


def appoint_heir(folder: Path) -> "subprocess.Popen[bytes]":
    """Start the process that buries the guest of a folder when this process is gone."""
    return subprocess.Popen(
        ["sh", "-c", 'cat && exec "$@"', "sh", sys.executable, "-m", "tests.lab", "bury", str(folder)],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def dismiss_heir(heir: "subprocess.Popen[bytes]") -> None:
    """End the heir before its owner's pipe is closed: the guest is buried by its owner."""
    heir.kill()
    heir.wait()
    if heir.stdin is not None:
        heir.stdin.close()


def bury(folder: Path) -> None:
    """End the guest of a folder, whichever form it has, and remove the folder."""
    domain = folder / DOMAIN
    if domain.exists():
        libvirtd.end_domain(domain.read_text())
    remove_work_folder(folder)


def sweep() -> int:
    """Bury every guest whose owner is gone, and return how many there were."""
    found = orphans()
    for folder in found:
        bury(folder)
    # A domain can be defined after the burial, when its owner died in the middle of that; its folder comes before it.
    stray = [name for name in libvirtd.domains() if is_stray(name)] if libvirtd.answers() else []
    for name in stray:
        libvirtd.end_domain(name)
    return len(found) + len(stray)
