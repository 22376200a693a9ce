"""Who copies a disk in full: this program, virsh, and qemu-img, each into a qcow2 file of the same folder."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import libvirt

from tests.acceptance.product import COMMAND, Document, Product, target
from tests.bench.conditions import used_by_children
from tests.bench.contenders import IN_WINDOW
from tests.bench.guests import listen
from tests.lab import Disk, LibvirtGuest, Spec
from tests.lab.disks import MKFS
from tests.lab.kernel import run_tool
from tests.lab.libvirtd import URI, virsh

DISK_MB, DATA_MB = 4096, 1024
#: What the guest changes before an incremental backup.
CHANGED_MB = 10
#: Seconds between two looks at a job of libvirt's, and at the memory of our process.
_LOOK = 0.02


@dataclass(frozen=True)
class Copy:
    """What somebody did who has copied."""

    #: Where its point in time lies, on the host's monotonic clock: the window, or the command that began it.
    begin: float
    end: float
    #: Our own, as `quiesce run --json` tells it, and the most megabytes that its process ever had in memory (VmHWM).
    run: Document | None = None
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Sample:
    """One copy of the disk. Times are in seconds, stalls in milliseconds."""

    copy: Copy
    #: Until the command, or libvirt's job, has ended; and until what it wrote is on the disk for good.
    ended: float
    durable: float
    #: What the command's own processes used of the processor, QEMU's not among them.
    processor: float
    #: The application's longest stall where the copy began, and from its beginning to its end.
    stall_begin: float
    stall_longest: float

    def parts(self) -> tuple[float, ...]:
        """What a run of ours spent its time on: what came before the freeze, the window, the copy, the publication, and
        the rest, which is mostly the start of a process.
        """
        assert self.copy.run is not None
        took = {step["action"]: step["duration_ms"] / 1000 for step in done(self.copy.run)}
        before = sum(took.get(action, 0.0) for action in ("preflight", "prepare", "flush"))
        parts = (before, self.copy.end - self.copy.begin, took["copy"], took["publish"])
        return (*parts, self.ended - sum(parts))


@contextmanager
def copied_guest() -> Iterator[tuple[LibvirtGuest, Path]]:
    """A domain with one disk that is a quarter full of what cannot be compressed, and a folder for its copies."""
    with tempfile.TemporaryDirectory(prefix="quiesce-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # QEMU runs as another user
        with LibvirtGuest(Spec(disks=(Disk(image=_filled(folder)),))) as guest:
            yield guest, folder


def _filled(folder: Path) -> Path:
    """A disk with an ext4 on it, filled from the host: an emulated guest would take minutes."""
    files, raw, image = folder / "files", folder / "raw", folder / "disk.qcow2"
    files.mkdir()
    for number in range(DATA_MB // 64):
        (files / f"data{number}").write_bytes(os.urandom(64 << 20))
    run_tool(*MKFS["ext4"], "-d", str(files), str(raw), f"{DISK_MB}M")
    run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))
    shutil.rmtree(files)
    raw.unlink()
    return image


def turn(guest: LibvirtGuest, act: Callable[[Path], Copy], to: Path) -> Sample:
    """Let somebody copy into the new folder `to`, and leave nothing of it."""
    to.mkdir(mode=0o755)
    os.sync()  # What the last one left to be written is not this one's.

    def timed() -> tuple[Copy, float, float]:
        used = used_by_children()
        copy = act(to)
        ended, used = time.monotonic(), used_by_children() - used
        if copy.run is None:
            _flush(to)
        return copy, ended, used

    (copy, ended, used), felt = listen(guest, timed)
    if copy.run is not None:
        _forget(guest, copy.run)
    shutil.rmtree(to)
    return Sample(
        copy,
        ended - felt.begin,
        felt.seconds,
        used,
        felt.longest_within(copy.begin, copy.end),
        felt.longest,
    )


def quiesce(product: Product, to: Path) -> Copy:
    """A full backup by this program, into a new repository."""
    run, peak = back_up(product, to)
    steps = {step["action"]: step for step in done(run)}
    begin = steps[IN_WINDOW[0]]["monotonic"] - steps[IN_WINDOW[0]]["duration_ms"] / 1000
    return Copy(begin, steps[IN_WINDOW[-1]]["monotonic"], run, peak)


def incremental(product: Product, guest: LibvirtGuest, to: Path) -> float:
    """Back up in full, let the guest change something, and back up again; return how many megabytes that stored."""
    to.mkdir(mode=0o755)
    back_up(product, to)
    guest.shell(f"dd if=/dev/urandom of=/data/changed bs=1M count={CHANGED_MB} conv=fsync 2>/dev/null", timeout=120)
    run, _ = back_up(product, to)
    snapshot = target(run)["snapshot"]
    assert snapshot["parent"] is not None
    stored = sum(Path(snapshot["path"], f"{disk['name']}.qcow2").stat().st_size for disk in snapshot["disks"])
    return stored / 1e6


def back_up(product: Product, to: Path) -> tuple[Document, float]:
    """Back up into the repository `to`; return the run, and the most megabytes that its process had in memory."""
    product.job("vm", driver="backup", repository=str(to), hold_limit="30s")
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([COMMAND, "--config", product.file, "run", "job", "--json"], stdout=out)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _peak_mb(process.pid))
            time.sleep(_LOOK)
        out.seek(0)
        run: Document = json.loads(out.read())
    assert (process.returncode, run["consistency"]) == (0, "filesystem"), run
    return run, peak


def done(run: Document) -> list[Document]:
    """The steps of a run that ended well."""
    return [step for step in run["steps"] if step["outcome"] == "done"]


def peer(guest: LibvirtGuest, to: Path) -> Copy:
    """The same by virsh alone, which does not freeze, and whose job is waited for."""
    xml = to / "backup.xml"
    xml.write_text(
        "<domainbackup><disks><disk name='vda' type='file'>"
        f"<target file='{to / 'vda.qcow2'}'/><driver type='qcow2'/></disk></disks></domainbackup>"
    )
    with closing(libvirt.open(URI)) as connection:
        domain = connection.lookupByName(guest.name)
        begin = time.monotonic()
        virsh("backup-begin", guest.name, str(xml))
        end = time.monotonic()
        while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
            time.sleep(_LOOK)
        assert domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)["success"]
    return Copy(begin, end)


def convert(guest: LibvirtGuest, to: Path) -> Copy:
    """What reads and writes the same: no backup, because the guest writes on meanwhile."""
    now = time.monotonic()
    run_tool("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "qcow2", str(guest.disks[0]), str(to / "vda.qcow2"))
    return Copy(now, now)


def _peak_mb(pid: int) -> float:
    """The most megabytes that a process has had in memory; 0 of one that has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _flush(folder: Path) -> None:
    """Make a folder, and what is in it, survive a loss of power."""
    for path in (*folder.iterdir(), folder):
        opened = os.open(path, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)


def _forget(guest: LibvirtGuest, run: Document) -> None:
    """Remove the bitmap of a backup that nothing will stand on, so that all meet the same disk."""
    for node in guest.monitor("query-named-block-nodes", {"flat": True}):
        for bitmap in node.get("dirty-bitmaps", []):
            guest.monitor("block-dirty-bitmap-remove", {"node": node["node-name"], "name": bitmap["name"]})
