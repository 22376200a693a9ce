"""No room for the overlays: a clear error, no freeze, and nothing left behind."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.product import Product, outcomes
from tests.acceptance.tmpfs import Tmpfs
from tests.lab import Disk, Spec, make_disk
from tests.lab.sharing import FreshBareGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


@pytest.fixture
def small(tmp_path: Path) -> "Tmpfs":
    return Tmpfs(tmp_path / "small", 72)


def test_no_room_for_the_overlays(
    product: Product, small: Tmpfs, fresh_bare_guest: FreshBareGuest, tmp_path: Path
) -> None:
    with small:
        image = small.path / "disk.raw"
        packed = make_disk(tmp_path / "disk.qcow2")
        # Every block has its place already, so that the guest itself needs no room.
        subprocess.run(["qemu-img", "convert", "-S", "0", "-O", "raw", str(packed), str(image)], check=True)
        guest = fresh_bare_guest(Spec(disks=(Disk(image=image),)))
        small.fill()
        product.machine("vm", guest)
        product.job("vm")
        ended = product.run()
        assert (ended.code, ended.run["state"], ended.run["consistency"]) == (1, "failed", "none")
        assert "cannot make the overlay" in ended.run["error"]
        assert os.strerror(28) in ended.run["error"]
        assert outcomes(ended.run) == [("preflight", "done"), ("prepare", "failed"), ("discard", "done")]
        assert "The guest was never frozen" in ended.err
        assert sorted(path.name for path in small.path.iterdir()) == ["disk.raw", "filler"]
        assert guest.active_disks() == [image]
        assert not guest.fs_frozen()

        small.free()
        assert product.run().code == 0
        guest.stop()
