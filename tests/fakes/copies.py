"""A machine in memory whose disks can be copied: the same contract as the real ones, and breakable."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.clock import Deadline
from orchestrator.errors import Rejected
from orchestrator.model import Disk, DiskCopy, Power, Progress
from tests.fakes.hypervisor import WithoutOverlays


@dataclass
class CopyingMachine(WithoutOverlays):
    """A hypervisor with one machine."""

    machine_disks: tuple[Disk, ...]
    local: bool = True
    copies: "MemoryCopies" = field(default_factory=lambda: MemoryCopies())

    def power(self, deadline: Deadline) -> Power:
        return Power.RUNNING

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        return self.machine_disks


@dataclass
class MemoryCopies:
    """Copies that end at the second look, and checkpoints that count bytes."""

    #: For each checkpoint that notes, how much it has noted.
    noted: dict[str, int] = field(default_factory=dict)
    #: The files that are open.
    opened: set[str] = field(default_factory=set)
    #: For each file that is copied to, how many looks will find it still being copied.
    going: dict[str, int] = field(default_factory=dict)
    #: What was begun: the checkpoint, and what it stands on.
    begun: list[tuple[str, str | None]] = field(default_factory=list)
    #: The rates that were asked for.
    rates: list[int | None] = field(default_factory=list)

    def write(self, count: int) -> None:
        """The guest writes so many bytes, to where it did not write before."""
        self.noted = {name: noted + count for name, noted in self.noted.items()}

    def definition(self, deadline: Deadline) -> str | None:
        return "<domain/>"

    def changed(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> int:
        if checkpoint not in self.noted:
            raise Rejected(f"there is no {checkpoint}")
        return self.noted[checkpoint]

    def open(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        self.opened |= {copy.path for copy in copies}

    def begin(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        if since is not None and since not in self.noted:
            raise Rejected(f"there is no {since}")
        self.begun.append((checkpoint, since))
        self.noted[checkpoint] = 0
        self.going |= {copy.path: 1 for copy in copies}

    def progress(self, copies: Sequence[DiskCopy], rate: int | None, deadline: Deadline) -> Progress:
        paths = [copy.path for copy in copies]
        if not all(path in self.going for path in paths):
            raise Rejected("nobody knows of the copy")
        self.rates.append(rate)
        left = max(self.going[path] for path in paths)
        self.going |= {path: max(0, self.going[path] - 1) for path in paths}
        return Progress(0 if left else 100, 100, ended=not left)

    def end(self, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        for copy in copies:
            self.going.pop(copy.path, None)
            self.opened.discard(copy.path)

    def forget(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> None:
        self.noted.pop(checkpoint, None)

    def leave(self, checkpoint: str, deadline: Deadline) -> None:
        pass
