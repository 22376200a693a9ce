"""Disks for guests: small qcow2 files with a real file system, copied from templates in the cache."""

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.kernel import run_tool
from tests.lab.places import cache_root, locked
from tests.lab.waiting import LabError

MOUNTS = ("/data", "/xfs", "/disk2", "/disk3", "/disk4", "/disk5", "/disk6", "/disk7")
# Nothing may be written behind the tests' back, so everything is initialised at once.
MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
    "xfs": ("mkfs.xfs", "-q"),
}
SMALLEST_MB = {"ext4": 64, "xfs": 300}


@dataclass(frozen=True)
class Disk:
    """One disk of a guest.

    `throttle` limits it to so many bytes per second. `image` is an existing qcow2 or raw file to be used in place, for
    instance a restored backup, instead of a new disk. `mount` is where the guest mounts it: by default /data for the
    first and /xfs for the second; "-" leaves it alone.
    """

    fstype: str = "ext4"
    size_mb: int = 0
    throttle: int | None = None
    image: Path | None = None
    mount: str = ""


def make_disk(path: Path, size_mb: int = 0, fstype: str = "ext4", slot: int = 0) -> Path:
    """Make a qcow2 file with an empty file system; `size_mb` 0 is the smallest useful one.

    Disks of one guest need different slots: XFS refuses to mount two file systems with the same UUID.
    """
    if fstype not in MKFS:
        raise LabError(f"no such file system: {fstype}")
    size_mb = size_mb or SMALLEST_MB[fstype]
    template = cache_root() / f"disk-{fstype}-{size_mb}-{slot}.qcow2"
    with locked("disks"):
        if not template.exists():
            _make_template(template, size_mb, fstype)
    shutil.copyfile(template, path)
    return path


def _make_template(template: Path, size_mb: int, fstype: str) -> None:
    """Make an empty disk aside and rename it into place."""
    with tempfile.TemporaryDirectory(prefix="disk-", dir=cache_root()) as aside:
        packed = Path(aside) / "qcow2"
        _make(packed, size_mb, *MKFS[fstype])
        packed.rename(template)


def _make(path: Path, size_mb: int, *mkfs: str) -> None:
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        file.truncate(size_mb << 20)
    run_tool(*mkfs, str(raw))
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path))
    raw.unlink()


def make_filled_disk(path: Path, size_mb: int, folder: Path) -> Path:
    """Make a qcow2 file with an ext4 file system that holds what a folder does."""
    _make(path, size_mb, *MKFS["ext4"], "-d", str(folder))
    return path


def image_format(path: Path) -> str:
    """Return "qcow2" or "raw", by the file's first bytes."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(4) == b"QFI\xfb":
            return "qcow2"
    return "raw"
