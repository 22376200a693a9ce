"""Whether the file systems of a disk are clean, and were at rest: the independent proof of a quiesce.

They are looked at as the guest's kernel would leave them, on a raw copy that is thrown away. At its next mount a kernel
replays the journal and removes the files that were deleted while a program still had them open. So the checker may do
that, too, before it looks: a guest with such a file is quiesced all the same, and `e2fsck -fn` would call it damaged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import Rejected
from orchestrator.images.chain import part_of
from orchestrator.images.tools import Tools
from orchestrator.model import ExaminedFilesystem

_SECTOR = 512
#: Exit statuses of blkid: it found something, or nothing. Otherwise it cannot tell.
_PROBED = (0, 2)
#: Characters of a checker's report that are told.
_REPORT = 500

#: ext4's superblock (docs.kernel.org/filesystems/ext4/super.html): where it is, and three of its fields.
_SUPERBLOCK, _SUPERBLOCK_BYTES = 1024, 1024
_INCOMPATIBLE, _RECOVER = 0x60, 0x4
_READ_ONLY_COMPATIBLE, _ORPHAN_PRESENT = 0x64, 0x10000
_LAST_ORPHAN = 0xE8

#: What `xfs_repair -n` says of a file system in good order.
_XFS_PROGRESS = re.compile(
    r"Phase \d|\s+- |No modify flag set|Cannot get host filesystem geometry|Repair may fail if there is a sector size"
    r"|the image and the host filesystem|\s*$"
)
#: What it says of an unmounted log, and of what a frozen XFS leaves to its next mount: counters, and deleted files
#: that were open. Linux marks the log of a frozen XFS as in use, so that these are cleared (xfs_log_quiesce).
_XFS_LOG = "ALERT: The filesystem has valuable metadata changes in a log"
_XFS_LEFT = re.compile(
    r"ALERT: The filesystem has valuable|ignored because the -n option|which may be resolved by first mounting"
    r"|sb_(fdblocks|icount|ifree) \d+, counted \d+|agi unlinked bucket \d+ is \d+ in ag \d+"
    r"|disconnected inode \d+, would move to lost\+found|would have reset inode \d+ nlinks from 0 to 1"
)


@dataclass(frozen=True)
class _Place:
    """Where a file system is: a part of a raw file."""

    disk: str
    raw: Path
    offset: int
    size: int

    def described(self, kind: str, clean: bool | None, text: str | None, recovery: bool | None) -> ExaminedFilesystem:
        return ExaminedFilesystem(self.disk, self.offset, kind, clean, recovery, text)


def examine(disk: str, raw: Path, tools: Tools) -> Iterator[ExaminedFilesystem]:
    """What is on a disk, of which `raw` is a copy that may be written to. Raises Rejected when a tool cannot be run."""
    whole = _Place(disk, raw, 0, raw.stat().st_size)
    kind, table = _probe(whole, tools)
    if kind:
        yield _examined(whole, kind, tools)
    elif table:
        places = list(_partitions(whole, tools))
        if not places:
            yield whole.described(table, None, "no partition is found in this partition table", None)
        for place in places:
            kind, _ = _probe(place, tools)
            if kind:
                yield _examined(place, kind, tools)


def _probe(place: _Place, tools: Tools) -> tuple[str, str]:
    """What blkid takes a part of a disk for: a file system or its like, and a partition table. Empty: for nothing."""
    size = ["-O", str(place.offset), "-S", str(place.size)]
    ended = tools.run("blkid", "-p", *size, "-o", "export", str(place.raw))
    if ended.status not in _PROBED:
        return "unknown", ""
    found = dict(line.partition("=")[::2] for line in ended.output.splitlines())
    return found.get("TYPE", ""), found.get("PTTYPE", "")


def _partitions(whole: _Place, tools: Tools) -> Iterator[_Place]:
    ended = tools.run("partx", "--output", "START,SECTORS", "--raw", "--noheadings", str(whole.raw))
    for line in ended.output.splitlines() if ended.status == 0 else ():
        start, sectors = (int(word) * _SECTOR for word in line.split())
        if start + sectors <= whole.size:  # what a table names behind the disk's end is not there
            yield _Place(whole.disk, whole.raw, start, sectors)


def _examined(place: _Place, kind: str, tools: Tools) -> ExaminedFilesystem:
    match kind:
        case "ext2" | "ext3" | "ext4":
            return _ext(place, kind, tools)
        case "xfs":
            return _xfs(place, tools)
        case _:
            return place.described(kind, None, "there is no checker for it here", None)


def _ext(place: _Place, kind: str, tools: Tools) -> ExaminedFilesystem:
    with place.raw.open("rb") as file:
        file.seek(place.offset + _SUPERBLOCK)
        superblock = file.read(_SUPERBLOCK_BYTES)

    def field(at: int) -> int:
        return int.from_bytes(superblock[at : at + 4], "little")

    recovery = bool(field(_INCOMPATIBLE) & _RECOVER)
    image = f"{place.raw}?offset={place.offset}"
    if recovery or field(_LAST_ORPHAN) or field(_READ_ONLY_COMPATIBLE) & _ORPHAN_PRESENT:
        tools.run("e2fsck", "-p", image)  # what the next mount does; how it went, the check tells
    ended = tools.run("e2fsck", "-fn", image)
    clean = ended.status == 0
    return place.described(kind, clean, None if clean else f"e2fsck: {_report(ended.output)}", recovery)


def _xfs(place: _Place, tools: Tools) -> ExaminedFilesystem:
    image, part = place.raw, place.raw.with_name("partition")
    if place.offset:  # xfs_repair takes no offset
        copied = tools.run("qemu-img", "convert", "-O", "raw", part_of(image, place.offset, place.size), str(part))
        if copied.status != 0:
            raise Rejected(f"cannot copy a partition of {place.disk}: {copied.output}")
        image = part
    try:
        ended = tools.run("xfs_repair", "-n", "-f", str(image))
    finally:
        part.unlink(missing_ok=True)
    said = [line for line in ended.output.splitlines() if not _XFS_PROGRESS.match(line)]
    in_use = any(line.startswith(_XFS_LOG) for line in said)
    left = [line for line in said if not (in_use and _XFS_LEFT.match(line))]
    clean = not left and (ended.status == 0 or in_use)
    return place.described("xfs", clean, None if clean else f"xfs_repair: {_report(chr(10).join(left))}", None)


def _report(output: str) -> str:
    """The last that a checker said, on one line."""
    return " ".join(output.split())[-_REPORT:]
