"""One case of the matrix on a real guest: the command ended at a boundary, recovery ended at one, and recovery again.

What is found at the end is asked of the kernel in the guest (over its serial line), of QEMU, of the folder of the disks
and of the journal.
"""

import json
import signal
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.acceptance.product import Document, Ended, Product, target
from tests.lab import Guest, LibvirtGuest
from tests.lab.places import CHECKOUT

#: No run ends in one of these.
OPEN = {"pending", "running", "stuck"}
#: Where the guest is frozen: before the cut, and after it.
FROZEN, CUT = "after agent.freeze", "after driver.cut"
#: In a table, where a process never came to the boundary: it has it only when something is slow.
NOT_THERE = "-"
#: Seconds for all cases of one kind.
LONG = 2 * 3600


@dataclass(frozen=True)
class Doomed:
    """What was crossed by a command that was ended, or let live."""

    ended: Ended
    crossed: Sequence[str]

    @property
    def killed(self) -> bool:
        """Whether it came to the boundary at which it was to be ended."""
        return self.ended.code == -signal.SIGKILL


class Trial:
    """A guest, configured as `vm` with one job by external snapshot, before the command is ended."""

    def __init__(self, folder: Path, guest: Guest) -> None:
        self.guest = guest
        script = folder / "quiesce"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.matrix.doomed "$@"\n')
        script.chmod(0o755)
        self.product = Product(folder, script)
        self.product.environment["PYTHONPATH"] = str(CHECKOUT)
        self.product.machine("vm", guest)
        self.product.job("vm", freeze_timeout="30s", hold_limit="30s", thaw_timeout="30s")
        self._crossed = folder / "crossed"
        self._disks, self._depths = guest.active_disks(), depths(guest)
        self._earlier = self._overlays()

    def close(self) -> None:
        """Kill what is still running."""
        self.product.close()

    def command(
        self, *words: str, end: str | None = None, with_guard: bool = False, deeds: Mapping[str, str] | None = None
    ) -> Doomed:
        """Carry a command out, to be ended at `end`; `deeds` are commands of the shell, each for a boundary."""
        self._crossed.write_text("")
        happens = {
            "QUIESCE_CROSSED": str(self._crossed),
            "QUIESCE_DOOM": end,
            "QUIESCE_HEIRS": "guard" if with_guard else None,
            "QUIESCE_DEEDS": json.dumps(deeds or {}),
        }
        usual = self.product.environment
        self.product.environment = {**usual, **{name: value for name, value in happens.items() if value is not None}}
        try:
            ended = self.product(*words, timeout=100)
        finally:
            self.product.environment = usual
        return Doomed(ended, self._crossed.read_text().splitlines())

    def add_socket(self) -> None:
        """The machine is also reached by its hidden channel: that is the first way then, and libvirt the second one."""
        assert isinstance(self.guest, LibvirtGuest)
        agent = f"unix:{self.guest.agent_socket}"
        self.product.table("machines.vm", hypervisor="local", domain=self.guest.name, agent=agent)

    def keep_journal(self, url: str) -> None:
        """The journal is the database at a URL, which has nothing in it yet."""
        self.product.database = url
        self.product.machine("vm", self.guest)
        assert self.command("db", "upgrade").ended.code == 0

    def recover(self) -> Sequence[str]:
        """Recover, let live; return what was crossed."""
        doomed = self.command("recover", "--json")
        assert doomed.ended.code == 0, doomed.ended
        return doomed.crossed

    def check(self) -> str:
        """Fail unless everything held; return what the history says of the run, in a few words."""
        assert self.guest.frozen_mounts() == []
        active = self.guest.active_disks()
        made = set(active) - set(self._disks)
        assert len(made) in {0, len(active)}, "some of the disks were cut"
        deeper = [now - then for now, then in zip(depths(self.guest), self._depths, strict=True)]
        assert set(deeper) == {int(bool(made))}, "it was cut more than once"
        left = self._overlays() - self._earlier - made
        runs: list[Document] = self.command("history", "--json").ended.document
        assert len(runs) == 1 or not (runs or made)
        assert runs or not left, "an overlay of no run"
        return self._check_run(runs[0], active if made else [], left) if runs else "no run"

    def _check_run(self, run: Document, overlays: Sequence[Path], left: Collection[Path]) -> str:
        """Fail unless the history tells of these overlays, and of no others; and of others that are left over."""
        assert run["state"] not in OPEN, run
        assert bool(left) == ("not cleaned up" in (run["error"] or "")), f"left over: {[*map(str, left)]}: {run}"
        snapshot = target(run)["snapshot"]
        told = [disk["overlay"] for disk in snapshot["disks"]] if snapshot else []
        assert told == [*map(str, overlays)], run
        assert (run["consistency"] == "none") == (not overlays), run
        return f"{run['state']}, {run['consistency']}" + (", overlays left" if left else "")

    def _overlays(self) -> set[Path]:
        return set(self._disks[0].parent.glob("*.quiesce-*.qcow2"))


def window(crossed: Sequence[str]) -> Sequence[str]:
    """Of the boundaries of a run, those of its window."""
    return crossed[crossed.index("before agent.freeze") : crossed.index("after agent.thaw") + 1]


@contextmanager
def trial(guest: Guest) -> Iterator[Trial]:
    """A trial in a folder of its own."""
    with TemporaryDirectory(prefix="quiesce-matrix-") as folder, closing(Trial(Path(folder), guest)) as made:
        yield made


def crossed_by_a_run(guest: Guest) -> Sequence[str]:
    """The boundaries of a run in which nothing goes wrong."""
    with trial(guest) as made:
        return made.command("run", "job", "--json").crossed


def depths(guest: Guest) -> list[int]:
    """How many files lie below each of the guest's disks."""
    return [block["inserted"]["backing_file_depth"] for block in guest.monitor("query-block") if "inserted" in block]
