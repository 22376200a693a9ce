"""Dirty bitmaps over the ends of a QEMU that never boots: which are there afterwards, and which are to be trusted."""

from pathlib import Path

import pytest

from orchestrator.errors import Rejected
from orchestrator.model import Disk, DiskCopy
from tests.lab import wait_for
from tests.unit.hypervisor.still import Still, StillQemu, image, within

pytestmark = pytest.mark.real

KINDS = {"qcow2": ("qcow2",), "version 2": ("qcow2", "-o", "compat=0.10"), "raw": ("raw",)}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def started(still: StillQemu, path: Path, kind: str) -> tuple[Still, Disk]:
    node = f"driver=file,node-name=f,filename={path}", f"driver={KINDS[kind][0]},node-name=n,file=f"
    qemu = still("-blockdev", node[0], "-blockdev", node[1], "-device", "virtio-blk-pci,drive=n,id=v")
    [disk] = qemu.machine.disks(within(30))
    return qemu, disk


def copied(qemu: Still, disk: Disk, name: str, since: str | None = None) -> None:
    copies = [DiskCopy(disk, str(image(Path(disk.path).with_name(f"{name}.qcow2"))))]
    qemu.machine.copies.open(name, since, copies, within(30))
    qemu.machine.copies.begin(name, since, copies, within(30))
    wait_for(lambda: qemu.machine.copies.progress(copies, None, within(30)).ended, 60, "the end of the copy")
    qemu.machine.copies.end(copies, within(30))


def ended(qemu: Still, *, properly: bool) -> None:
    if properly:
        qemu.machine.close()
        qemu.ask("quit")
    qemu.end()


def test_a_proper_end_keeps_what_an_image_can_hold(still: StillQemu, tmp_path: Path, kind: str) -> None:
    path = image(tmp_path / "disk", *KINDS[kind])
    qemu, disk = started(still, path, kind)
    copied(qemu, disk, "quiesce-one")
    assert qemu.machine.copies.changed("quiesce-one", [disk], within(30)) == 0
    ended(qemu, properly=True)

    again, disk = started(still, path, kind)
    if kind == "qcow2":
        copied(again, disk, "quiesce-two", "quiesce-one")
    else:
        with pytest.raises(Rejected, match="the disk v has no dirty bitmap quiesce-one: QEMU, or"):
            again.machine.copies.changed("quiesce-one", [disk], within(30))


def test_after_a_crash_a_bitmap_is_not_trusted_and_can_be_forgotten(still: StillQemu, tmp_path: Path) -> None:
    path = image(tmp_path / "disk")
    qemu, disk = started(still, path, "qcow2")
    copied(qemu, disk, "quiesce-one")
    ended(qemu, properly=True)
    qemu, disk = started(still, path, "qcow2")
    ended(qemu, properly=False)

    again, disk = started(still, path, "qcow2")
    with pytest.raises(Rejected, match="quiesce-one of the disk v is broken: QEMU ended uncleanly"):
        again.machine.copies.changed("quiesce-one", [disk], within(30))
    copied(again, disk, "quiesce-two")
    again.machine.copies.forget("quiesce-one", [disk], within(30))
    with pytest.raises(Rejected, match="no dirty bitmap quiesce-one"):
        again.machine.copies.changed("quiesce-one", [disk], within(30))
    assert again.machine.copies.changed("quiesce-two", [disk], within(30)) == 0
