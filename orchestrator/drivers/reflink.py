"""Clones of the disks' image files that share their blocks (FICLONE), on XFS or btrfs: a cut of milliseconds, no chain.

A clone holds what the guest has flushed, whatever cache mode its disk has. With `cache=none` that is in the file; else
it is in this host's page cache, which QEMU's writes and the clone share, and which the kernel writes out before it
clones (`generic_remap_file_range_prep`). What QEMU itself keeps back, the tables of a qcow2, it writes when the guest
flushes; and the freeze of a guest's file system ends with a flush.
"""

import contextlib
import fcntl
import os
import stat
from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.drivers import check_options
from orchestrator.drivers.merging import space
from orchestrator.drivers.whole import hypervisor_here, sync_folder, whole_disks
from orchestrator.errors import Rejected
from orchestrator.model import Place, Progress
from orchestrator.ports import DriverContext, Plan

#: ioctl_ficlone(2): _IOW(0x94, 9, int).
_FICLONE = 0x40049409


class Reflink:
    """Clones every disk to a sibling, `STEM.SNAPSHOT.SUFFIX`."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError when the job has options, or the machine's files are not on this host."""
        check_options(context, ())
        self._hypervisor = hypervisor_here(context, "reflink")

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        """The disks, and the clone of each. Raises Rejected when one stands on another file, or a clone exists."""
        disks = []
        for disk in whole_disks(self._hypervisor, deadline):
            path = Path(disk.path)
            clone = path.with_name(f"{path.stem}.{snapshot}{path.suffix}")
            if clone.exists():
                raise Rejected(f"{clone} exists already")
            disks.append({"name": disk.name, "path": disk.path, "format": disk.format, "clone": str(clone)})
        return {"name": snapshot, "disks": disks}

    def prepare(self, plan: Plan, deadline: Deadline) -> None:
        """Make the files, and clone once for trial, which also writes out what is dirty now.

        Raises Rejected when the file system cannot clone.
        """
        for disk in plan["disks"]:
            with _explained(disk):
                _make(disk["path"], _partial(disk))
                _clone(disk["path"], _partial(disk))

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Clone all disks, and only then give the clones their names."""
        for disk in plan["disks"]:
            with _explained(disk):
                _clone(disk["path"], _partial(disk))
        for disk in plan["disks"]:
            with _explained(disk):
                _partial(disk).rename(disk["clone"])
                sync_folder(Path(disk["clone"]).parent)
        return _made(plan)

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """What the cut made, when all clones have their names."""
        return _made(plan) if all(Path(disk["clone"]).exists() for disk in plan["disks"]) else None

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        """Remove the files of a cut that did not happen. Raises Rejected when it did."""
        if self.happened(plan, deadline) is not None:
            raise Rejected(f"the clones of {plan['name']} are whole: nothing was removed")
        for disk in plan["disks"]:
            _remove(plan["name"], _partial(disk))
            _remove(plan["name"], Path(disk["clone"]))

    def places(self, made: Mapping[str, Any], deadline: Deadline) -> tuple[Place, ...]:
        """The clones."""
        return tuple(Place(disk["name"], disk["clone"], space(disk["clone"]), None) for disk in made["disks"])

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        """Remove the clones. Blocks that nothing else shares are free afterwards."""
        yield from ()
        for disk in made["disks"]:
            _remove(made["name"], Path(disk["clone"]))

    def close(self) -> None:
        """Nothing to release: the hypervisor belongs to who made it."""


def _made(plan: Plan) -> Mapping[str, Any]:
    return {"disks": plan["disks"]}


def _partial(disk: Mapping[str, str]) -> Path:
    return Path(disk["clone"] + ".partial")


def _make(model: str, path: Path) -> None:
    """Make an empty file, as readable as the disk, and never over another one."""
    like = Path(model).stat()
    made = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(made):
        with contextlib.suppress(PermissionError):  # Only root may give a file away.
            os.fchown(made, like.st_uid, like.st_gid)
        os.fchmod(made, stat.S_IMODE(like.st_mode))


def _clone(source: str, target: Path) -> None:
    """Let `target` hold what `source` holds, durably."""
    with Path(source).open("rb") as original, target.open("r+b") as clone:
        fcntl.ioctl(clone.fileno(), _FICLONE, original.fileno())
        os.fsync(clone.fileno())


def _remove(name: str, path: Path) -> None:
    if f".{name}" not in path.name:
        raise Rejected(f"{path} does not carry our name: nothing was removed")
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise Rejected(f"cannot remove {path}: {error.strerror}") from error


@contextmanager
def _explained(disk: Mapping[str, str]) -> Iterator[None]:
    """Within the `with`, an error of the system says which clone could not be made."""
    try:
        yield
    except OSError as error:
        raise Rejected(
            f"cannot clone {disk['path']} to {disk['clone']}: {error.strerror}; the driver reflink needs "
            "an XFS that was made with reflink=1, or a btrfs"
        ) from error
