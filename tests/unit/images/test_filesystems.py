"""What is told of the file systems on a disk, by the real checkers over disks that are made here."""

import struct
import subprocess
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path

from orchestrator.clock import SystemClock
from orchestrator.images.filesystems import examine
from orchestrator.images.tools import Tools
from orchestrator.model import ExaminedFilesystem

MIB = 1 << 20
SECTOR = 512
LINUX, EXTENDED = 0x83, 0x05


def examined(raw: Path) -> list[ExaminedFilesystem]:
    return list(examine("vda", raw, Tools(SystemClock())))


def run(*arguments: object) -> None:
    subprocess.run([str(each) for each in arguments], check=True, capture_output=True)


def empty(path: Path, megabytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(megabytes * MIB)
    return path


def ext4(path: Path, megabytes: int = 8) -> Path:
    run("mkfs.ext4", "-q", empty(path, megabytes))
    return path


def xfs(path: Path) -> Path:
    run("mkfs.xfs", "-q", empty(path, 300))
    return path


def put(disk: Path, at: int, part: Path) -> None:
    """Copy a file system into a disk."""
    run("dd", f"if={part}", f"of={disk}", "bs=1M", f"seek={at // MIB}", "conv=notrunc,sparse")


def mbr(disk: Path, at: int, *parts: tuple[int, int, int]) -> None:
    """Write a partition table in the old format: of each partition the type, and the start and the size in bytes."""
    entries = [struct.pack("<8xII", start // SECTOR, size // SECTOR) for _, start, size in parts]
    table = b"".join(
        entry[:4] + bytes([kind]) + entry[5:] for entry, (kind, *_) in zip(entries, parts, strict=True)
    ).ljust(64, b"\0")
    with disk.open("r+b") as file:
        file.seek(at + 446)
        file.write(table + b"\x55\xaa")


def gpt(disk: Path, parts: Sequence[tuple[int, int]]) -> None:
    """Write a GUID partition table with these starts and sizes in bytes."""
    sectors = disk.stat().st_size // SECTOR
    linux = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4").bytes_le
    entries = b"".join(
        linux + uuid.uuid4().bytes_le + struct.pack("<QQQ72x", start // SECTOR, (start + size) // SECTOR - 1, 0)
        for start, size in parts
    ).ljust(128 * 128, b"\0")
    identity = uuid.uuid4().bytes_le

    def header(here: int, other: int, table: int) -> bytes:
        rest = struct.pack("<QQQQ", here, other, 34, sectors - 34) + identity
        rest += struct.pack("<QIII", table, 128, 128, zlib.crc32(entries))
        start = b"EFI PART" + struct.pack("<II", 0x10000, 92)
        return start + struct.pack("<II", zlib.crc32(start + bytes(8) + rest), 0) + rest

    mbr(disk, 0, (0xEE, SECTOR, (sectors - 1) * SECTOR))
    with disk.open("r+b") as file:
        for at, content in (
            (1, header(1, sectors - 1, 2)),
            (2, entries),
            (sectors - 33, entries),
            (sectors - 1, header(sectors - 1, 1, sectors - 33)),
        ):
            file.seek(at * SECTOR)
            file.write(content)


def test_a_clean_ext4_that_is_the_whole_disk(tmp_path: Path) -> None:
    assert examined(ext4(tmp_path / "disk")) == [ExaminedFilesystem("vda", 0, "ext4", True, False)]


def test_a_clean_xfs_that_is_the_whole_disk(tmp_path: Path) -> None:
    assert examined(xfs(tmp_path / "disk")) == [ExaminedFilesystem("vda", 0, "xfs", True)]


def test_partitions_of_the_old_format_also_within_one_another(tmp_path: Path) -> None:
    disk, part = empty(tmp_path / "disk", 64), ext4(tmp_path / "part")
    mbr(disk, 0, (LINUX, MIB, 8 * MIB), (EXTENDED, 16 * MIB, 40 * MIB), (LINUX, 60 * MIB, 100 * MIB))
    mbr(disk, 16 * MIB, (LINUX, MIB, 8 * MIB))
    put(disk, MIB, part)
    put(disk, 17 * MIB, part)

    # The third one is said to end behind the disk's end: it is not there.
    assert examined(disk) == [
        ExaminedFilesystem("vda", MIB, "ext4", True, False),
        ExaminedFilesystem("vda", 17 * MIB, "ext4", True, False),
    ]


def test_partitions_of_the_new_format(tmp_path: Path) -> None:
    disk = empty(tmp_path / "disk", 400)
    gpt(disk, [(MIB, 8 * MIB), (10 * MIB, 300 * MIB), (320 * MIB, 8 * MIB)])
    put(disk, MIB, ext4(tmp_path / "ext4"))
    put(disk, 10 * MIB, xfs(tmp_path / "xfs"))
    run("mkswap", empty(tmp_path / "swap", 8))
    put(disk, 320 * MIB, tmp_path / "swap")

    assert examined(disk) == [
        ExaminedFilesystem("vda", MIB, "ext4", True, False),
        ExaminedFilesystem("vda", 10 * MIB, "xfs", True),
        ExaminedFilesystem("vda", 320 * MIB, "swap", None, None, "there is no checker for it here"),
    ]
    assert not (tmp_path / "partition").exists()


def test_an_ext4_that_was_in_use_is_clean_after_its_recovery(tmp_path: Path) -> None:
    disk = ext4(tmp_path / "disk")
    run("debugfs", "-w", "-R", "feature needs_recovery", disk)

    assert examined(disk) == [ExaminedFilesystem("vda", 0, "ext4", True, True)]


def test_a_damaged_ext4_is_told_and_not_repaired(tmp_path: Path) -> None:
    disk = ext4(tmp_path / "disk")
    run("debugfs", "-w", "-R", "clri <2>", disk)
    before = disk.read_bytes()

    [found] = examined(disk)

    assert found.clean is False
    assert found.text is not None
    assert found.text.startswith("e2fsck: ")
    assert disk.read_bytes() == before


def test_a_damaged_xfs_is_told(tmp_path: Path) -> None:
    disk = xfs(tmp_path / "disk")
    with disk.open("r+b") as file:  # the free space's header of the first group
        file.seek(SECTOR)
        file.write(b"\xff" * SECTOR)

    [found] = examined(disk)

    assert found.clean is False
    assert found.text is not None
    assert found.text.startswith("xfs_repair: ")


def test_an_empty_disk_has_none(tmp_path: Path) -> None:
    assert examined(empty(tmp_path / "disk", 8)) == []


def test_a_table_without_partitions_is_told(tmp_path: Path) -> None:
    disk = empty(tmp_path / "disk", 8)
    mbr(disk, 0)
    told = "no partition is found in this partition table"
    assert examined(disk) == [ExaminedFilesystem("vda", 0, "dos", None, None, told)]

    gpt(disk, [(MIB, MIB)])
    with disk.open("r+b") as file:  # neither copy of the entries is what its header says
        for at in (2, disk.stat().st_size // SECTOR - 33):
            file.seek(at * SECTOR)
            file.write(b"\xff" * SECTOR)
    assert examined(disk) == [ExaminedFilesystem("vda", 0, "PMBR", None, None, told)]
