"""The drivers `reflink` and `btrfs` on real file systems: what they keep, remove, and refuse."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.drivers import find
from orchestrator.errors import ConfigError, Rejected
from orchestrator.model import Machine
from orchestrator.ports import Driver, DriverContext, LocatingDriver, RemovingDriver
from tests.fakes.shelf import Shelf
from tests.lab.kernel import run_tool
from tests.lab.mounts import loop_mount


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 30)


def driver(name: str, *disks: Path, local: bool = True) -> Driver:
    shelf = Shelf(*disks, local=local)
    return find(name)(DriverContext(Machine("db1"), "nightly", "r1", {}, shelf, SystemClock()))


def cut(name: str, snapshot: str, *disks: Path) -> Mapping[str, Any]:
    """What the journal has of a snapshot."""
    made = driver(name, *disks)
    plan = made.plan(snapshot, soon())
    made.prepare(plan, soon())
    return {"name": snapshot, **made.cut(plan, soon())}


def places(name: str, made: Mapping[str, Any]) -> list[Path]:
    found = driver(name)
    assert isinstance(found, LocatingDriver)
    return [Path(place.path) for place in found.places(made, soon())]


def remove(name: str, made: Mapping[str, Any]) -> None:
    found = driver(name)
    assert isinstance(found, RemovingDriver)
    assert list(found.remove(made, (), soon())) == []


@pytest.fixture
def xfs(tmp_path: Path) -> Iterator[Path]:
    with loop_mount("xfs", tmp_path) as folder:
        yield folder


@pytest.fixture
def btrfs(tmp_path: Path) -> Iterator[Path]:
    with loop_mount("btrfs", tmp_path) as folder:
        yield folder


@pytest.mark.parametrize(("name", "kind"), [("reflink", "xfs"), ("reflink", "btrfs"), ("btrfs", "btrfs")])
def test_each_snapshot_keeps_what_the_disk_held_and_goes_alone(
    request: pytest.FixtureRequest, name: str, kind: str
) -> None:
    disk: Path = request.getfixturevalue(kind) / "vm.raw"
    made = {}
    for turn in (b"one", b"two", b"three"):
        disk.write_bytes(turn * 10_000)  # into the page cache, and no further
        made[turn] = cut(name, f"quiesce-{turn.decode()}", disk)
    disk.write_bytes(b"now")
    remove(name, made[b"two"])
    remove(name, made[b"two"])
    assert not any(path.exists() for path in places(name, made[b"two"]))
    for turn in (b"one", b"three"):
        assert [path.read_bytes() for path in places(name, made[turn])] == [turn * 10_000]
    assert disk.read_bytes() == b"now"
    with pytest.raises(Rejected, match="does not carry our name: nothing was removed"):
        remove(name, {**made[b"one"], "name": "theirs"})
    assert places(name, made[b"one"])[0].exists()


def test_disks_of_several_subvolumes_get_a_snapshot_each(btrfs: Path) -> None:
    disks = []
    for subvolume in ("fast", "large"):
        run_tool("btrfs", "subvolume", "create", str(btrfs / subvolume))
        disks += [btrfs / subvolume / "a.raw", btrfs / subvolume / "b.raw"]
    for disk in disks:
        disk.write_bytes(b"x")
    made = cut("btrfs", "quiesce-r1", *disks)
    assert made["subvolumes"] == [str(btrfs / "fast"), str(btrfs / "large")]
    with pytest.raises(OSError, match="Read-only"):
        places("btrfs", made)[0].write_bytes(b"y")
    remove("btrfs", made)
    assert sorted(path.name for path in (btrfs / "fast").iterdir()) == ["a.raw", "b.raw"]


@pytest.mark.parametrize("name", ["reflink", "btrfs"])
def test_a_disk_on_another_file_is_refused(name: str, btrfs: Path) -> None:
    (btrfs / "base.raw").write_bytes(bytes(1 << 20))
    top = btrfs / "top.qcow2"
    run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(btrfs / "base.raw"), "-F", "raw", str(top))
    with pytest.raises(Rejected, match=r"the disk vda .* stands on .*base.raw: this driver keeps disks of one file"):
        driver(name, top).plan("quiesce-r1", soon())


def test_a_file_system_that_cannot_is_told_before_the_freeze(tmp_path: Path) -> None:
    with loop_mount("ext4", tmp_path) as folder:
        disk = folder / "vm.raw"
        disk.write_bytes(b"x")
        with pytest.raises(Rejected, match="is not on btrfs, but on ext2/ext3"):
            driver("btrfs", disk).plan("quiesce-r1", soon())
        cloning = driver("reflink", disk)
        plan = cloning.plan("quiesce-r1", soon())
        with pytest.raises(Rejected, match="Operation not supported; the driver reflink needs an XFS"):
            cloning.prepare(plan, soon())
        cloning.discard(plan, soon())
        assert [path.name for path in folder.iterdir() if path.is_file()] == ["vm.raw"]


@pytest.mark.parametrize("name", ["reflink", "btrfs"])
def test_files_on_another_host_are_a_mistake_of_the_configuration(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"job nightly: the driver {name} needs a `hypervisor` on this host"):
        driver(name, tmp_path / "vm.raw", local=False)
