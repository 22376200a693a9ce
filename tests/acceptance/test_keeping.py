"""Image files that are kept by their file system, of real guests that write."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.product import Product, target
from tests.lab import Disk, Spec
from tests.lab.disks import make_disk
from tests.lab.kernel import run_tool
from tests.lab.mounts import loop_mount
from tests.lab.sharing import FreshBareGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


@pytest.fixture(params=[("reflink", "xfs"), ("btrfs", "btrfs")], ids=lambda pair: pair[0])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A driver, and a file system that it can use."""
    driver, kind = request.param
    with loop_mount(kind, tmp_path) as folder:
        yield driver, folder


def test_a_quiesced_cut_is_clean_and_goes_by_retention(
    product: Product, kept: tuple[str, Path], fresh_bare_guest: FreshBareGuest, tmp_path: Path
) -> None:
    driver, folder = kept
    guest = fresh_bare_guest(Spec(disks=(Disk(image=make_disk(folder / "vm.qcow2", 64, "ext4", 0), mount="/data"),)))
    product.machine("vm", guest)
    product.job("vm", driver=driver)
    product.table("jobs.job.retention", keep_last=1)
    paths = []
    for turn in ("one", "two"):
        guest.shell(f"dd if=/dev/urandom of=/data/{turn} bs=64k count=32 2>/dev/null")  # not flushed: the freeze does
        ended = product.run()
        assert ended.code == 0, ended.err
        assert target(ended.run)["consistency"] == "filesystem"
        (listed,) = product("snapshots", "--json").document
        paths.append(Path(listed["places"][0]["path"]))
    assert not paths[0].exists()
    raw = tmp_path / "kept.raw"
    run_tool("qemu-img", "check", "--force-share", str(paths[1]))
    run_tool("qemu-img", "convert", "-O", "raw", str(paths[1]), str(raw))
    run_tool("e2fsck", "-fn", str(raw))
    assert "needs_recovery" not in run_tool("dumpe2fs", "-h", str(raw))
    assert {"one", "two"} <= set(run_tool("debugfs", "-R", "ls -p /", str(raw)).replace("/", " ").split())
