"""Read-only btrfs snapshots of the subvolumes that hold the disks' image files: a cut of milliseconds, no chain.

A snapshot holds what the guest has flushed, whatever cache mode its disk has: btrfs writes out what the page cache has
of the subvolume before it takes the snapshot (`btrfs_start_delalloc_snapshot`). See `drivers.reflink` for the rest.
"""

from collections.abc import Collection, Generator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.drivers import check_options
from orchestrator.drivers.merging import space
from orchestrator.drivers.whole import hypervisor_here, whole_disks
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.model import NAME_PREFIX, Place, Progress
from orchestrator.ports import DriverContext, Plan
from orchestrator.programs import run

#: The inode of the root of every subvolume (BTRFS_FIRST_FREE_OBJECTID).
_SUBVOLUME = 256


class Btrfs:
    """Takes a snapshot of every subvolume with a disk in it, as a folder of the snapshot's name inside of it."""

    def __init__(self, context: DriverContext) -> None:
        """Raises ConfigError when the job has options, or the machine's files are not on this host."""
        check_options(context, ())
        self._hypervisor = hypervisor_here(context, "btrfs")

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        """The subvolumes, and where in each snapshot the disks will be.

        Raises Rejected when a disk stands on another file or on another file system, or a snapshot exists.
        """
        disks, subvolumes = [], set()
        for disk in whole_disks(self._hypervisor, deadline):
            path = Path(disk.path).resolve()
            subvolume = _subvolume_of(path, deadline)
            subvolumes.add(str(subvolume))
            kept = subvolume / snapshot / path.relative_to(subvolume)
            if (subvolume / snapshot).exists():
                raise Rejected(f"{subvolume / snapshot} exists already")
            disks.append({"name": disk.name, "path": disk.path, "format": disk.format, "kept": str(kept)})
        return {"name": snapshot, "subvolumes": sorted(subvolumes), "disks": disks}

    def prepare(self, plan: Plan, deadline: Deadline) -> None:
        """Write out what is dirty now. Raises Rejected when the btrfs program is missing."""
        for subvolume in plan["subvolumes"]:
            _btrfs(deadline, "filesystem", "sync", subvolume)

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Take all snapshots, one after the other. Each is there at once and whole, or not at all."""
        for subvolume in plan["subvolumes"]:
            _btrfs(deadline, "subvolume", "snapshot", "-r", subvolume, str(Path(subvolume) / plan["name"]))
        return _made(plan)

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """What the cut made, when all snapshots are there."""
        return _made(plan) if all(_is_there(path) for path in _snapshots(plan)) else None

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        """Remove what there is of a cut that did not happen. Raises Rejected when it did."""
        if self.happened(plan, deadline) is not None:
            raise Rejected(f"the snapshots {plan['name']} are whole: nothing was removed")
        for path in _snapshots(plan):
            _delete(path, deadline)

    def places(self, made: Mapping[str, Any], deadline: Deadline) -> tuple[Place, ...]:
        """The image files in the snapshots."""
        return tuple(Place(disk["name"], disk["kept"], space(disk["kept"]), None) for disk in made["disks"])

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        """Delete the snapshots. btrfs frees their space in the background."""
        yield from ()
        for path in _snapshots(made):
            _delete(path, deadline)

    def close(self) -> None:
        """Nothing to release: the hypervisor belongs to who made it."""


def _made(plan: Plan) -> Mapping[str, Any]:
    return {"subvolumes": plan["subvolumes"], "disks": plan["disks"]}


def _snapshots(made: Mapping[str, Any]) -> list[Path]:
    return [Path(subvolume) / made["name"] for subvolume in made["subvolumes"]]


def _subvolume_of(path: Path, deadline: Deadline) -> Path:
    """The root of the subvolume that a file is in. Raises Rejected when it is on another file system."""
    ended = run(["stat", "--file-system", "--format=%T", str(path)], deadline)
    if ended.output != "btrfs":
        raise Rejected(f"{path} is not on btrfs, but on {ended.output}")
    return next(folder for folder in path.parents if folder.stat().st_ino == _SUBVOLUME)


def _is_there(path: Path) -> bool:
    return path.exists() and path.stat().st_ino == _SUBVOLUME


def _delete(path: Path, deadline: Deadline) -> None:
    if not path.name.startswith(NAME_PREFIX):
        raise Rejected(f"{path} does not carry our name: nothing was removed")
    if _is_there(path):
        _btrfs(deadline, "subvolume", "delete", "--commit-after", str(path))


def _btrfs(deadline: Deadline, *arguments: str) -> None:
    """Raises Rejected with what the program said, OutcomeUnknown when it was killed."""
    ended = run(["btrfs", *arguments], deadline)
    if ended.status < 0:
        raise OutcomeUnknown(f"btrfs {' '.join(arguments)} was ended by signal {-ended.status}")
    if ended.status > 0:
        raise Rejected(f"btrfs {' '.join(arguments)}: {ended.output}")
