"""Independent proof of what an image holds, by the host's own tools and without booting it.

A quiesced ext4 is at rest: its journal need not be replayed and `e2fsck` finds nothing. A cut without a freeze carries
the `needs_recovery` flag, and what its journal still holds is not in the files yet.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.kernel import run_tool
from tests.lab.waiting import LabError

RECORD_BYTES = 64
CHECKSUM = slice(22, 30)


@dataclass(frozen=True)
class Ext4Proof:
    """What the host's tools say of an ext4 image; `errors` is the exit status of `e2fsck -fn`."""

    needs_recovery: bool
    errors: int

    @property
    def quiesced(self) -> bool:
        """Tell whether the file system was at rest at the moment of the cut."""
        return not self.needs_recovery and self.errors == 0


def examine_ext4(image: Path) -> Ext4Proof:
    """Return what the host's tools say of an image, whose backing files are followed. It must not be in use."""
    with _raw(image) as raw:
        header = run_tool("dumpe2fs", "-h", str(raw))
        checked = subprocess.run(["e2fsck", "-fn", str(raw)], capture_output=True, check=False)
        return Ext4Proof("needs_recovery" in header, checked.returncode)


def count_records(image: Path, file: str = "/records") -> int:
    """Return how many whole records a writer's file on an ext4 image holds; LabError when one of them is damaged."""
    with _raw(image) as raw:
        dumped = raw.with_name("records")
        run_tool("debugfs", "-R", f"dump {file} {dumped}", str(raw))
        content = dumped.read_bytes()
    for number, start in enumerate(range(0, len(content), RECORD_BYTES), 1):
        if not _whole(content[start : start + RECORD_BYTES], number):
            raise LabError(f"record {number} of {image} is damaged")
    return len(content) // RECORD_BYTES


@contextmanager
def file_of(image: Path, file: str) -> Iterator[Path]:
    """Yield a copy of one file of an ext4 image; one that is not there is empty."""
    with _raw(image) as raw:
        copy = raw.with_name("file")
        run_tool("debugfs", "-R", f"dump {file} {copy}", str(raw))
        copy.touch()
        yield copy


@contextmanager
def folder_of(image: Path, folder: str) -> Iterator[Path]:
    """Yield a copy of one folder of an ext4 image."""
    with _raw(image) as raw:
        run_tool("debugfs", "-R", f"rdump {folder} {raw.parent}", str(raw))
        yield raw.parent / Path(folder).name


def _whole(record: bytes, number: int) -> bool:
    """Tell whether these bytes are the record of that number, as guest/writer.c makes it."""
    unsummed = record[: CHECKSUM.start] + b"0" * 8 + record[CHECKSUM.stop :]
    total = 2166136261
    for byte in unsummed:
        total = ((total ^ byte) * 16777619) & 0xFFFFFFFF
    return len(record) == RECORD_BYTES and record.startswith(b"QLAB %016d %08x " % (number, total))


@contextmanager
def _raw(image: Path) -> Iterator[Path]:
    """Yield a raw copy of an image."""
    with tempfile.TemporaryDirectory(prefix="qlab-proof-") as folder:
        raw = Path(folder) / "raw"
        run_tool("qemu-img", "convert", "-O", "raw", str(image), str(raw))
        yield raw
