"""Merges of machines that are nothing but numbered blocks in layers: `ports.Merges`, step by step, and breakable."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.clock import Deadline
from orchestrator.errors import Rejected
from orchestrator.model import Power, Progress
from tests.fakes.hypervisor import WithoutOverlays

Blocks = dict[int, int]
DISKS = ("vda", "vdb")


class MemoryMerges:
    """One machine's disks. Each look at a merge lets it go one block further."""

    def __init__(self, layers: Mapping[str, Mapping[str, Blocks]]) -> None:
        """`layers` are, for each disk, its files with what each of them holds by itself: the top first."""
        self.layers = {disk: dict(files) for disk, files in layers.items()}
        #: For each disk the overlay that is merged now, and the blocks of it that are left to be written below.
        self.jobs: dict[str, tuple[str, list[int]]] = {}
        self.closed: list[str] = []

    def content(self, disk: str, file: str) -> Blocks:
        """What is read through a file and all that lies below it."""
        files = [*self.layers[disk]]
        read: Blocks = {}
        for each in reversed(files[files.index(file) :]):
            read |= self.layers[disk][each]
        return read

    def chains(self, deadline: Deadline) -> Mapping[str, tuple[str, ...]]:
        return {disk: tuple(files) for disk, files in self.layers.items()}

    def begin(self, disk: str, overlay: str, below: str, deadline: Deadline) -> None:
        files = [*self.layers[disk]]
        assert files[files.index(overlay) + 1] == below
        if disk in self.jobs:
            raise Rejected(f"{disk} is already in an active block job")
        self.jobs[disk] = (overlay, sorted(self.layers[disk][overlay]))

    def progress(self, disk: str, overlay: str, deadline: Deadline) -> Progress | None:
        if disk not in self.jobs:
            return None
        merged, left = self.jobs[disk]
        files = [*self.layers[disk]]
        below = files[files.index(merged) + 1]
        total = len(self.layers[disk][merged])
        if left:
            block = left.pop(0)
            self.layers[disk][below][block] = self.layers[disk][merged][block]
        else:
            del self.layers[disk][merged], self.jobs[disk]
        return Progress(total - len(left), total, ended=False)

    def cancel(self, disk: str, overlay: str, deadline: Deadline) -> None:
        self.jobs.pop(disk, None)

    def close(self, overlay: str, deadline: Deadline) -> None:
        assert not any(overlay in files for files in self.layers.values())
        self.closed.append(overlay)


class Layers(WithoutOverlays):
    """A machine that is nothing but layers: on another host, unless `local`."""

    def __init__(self, merges: MemoryMerges, power: Power = Power.RUNNING, *, local: bool = False) -> None:
        self.merges, self._power, self.local = merges, power, local

    def power(self, deadline: Deadline) -> Power:
        return self._power


def overlay(disk: str, turn: int) -> str:
    return f"/images/{disk}.quiesce-{turn}.qcow2"


def made(turn: int) -> dict[str, Any]:
    return {"name": f"quiesce-{turn}", "disks": [{"name": disk, "overlay": overlay(disk, turn)} for disk in DISKS]}


def machine(contents: Sequence[Blocks]) -> MemoryMerges:
    """A machine with a base and an overlay for each further content, on both of its disks."""
    return MemoryMerges(
        {
            disk: {
                **{overlay(disk, turn): dict(contents[turn]) for turn in range(len(contents) - 1, 0, -1)},
                f"/images/{disk}.raw": dict(contents[0]),
            }
            for disk in DISKS
        }
    )
