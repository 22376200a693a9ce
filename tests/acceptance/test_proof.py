"""Proof, not trust: what a snapshot holds is judged without the product, and without the guest that it was taken of.

A writer is busy all the time. The file system of a quiesced cut needs no recovery; without the freeze it does, which
shows that these checks can fail.
"""

import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.product import Product, target
from tests.lab import PATIENCE, Guest, wait_for
from tests.lab.proof import RECORD_BYTES, count_records, examine_ext4

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_a_quiesced_cut_needs_no_recovery(product: Product, guest: Guest, tmp_path: Path) -> None:
    product.job("vm")
    keep_busy(guest, "/data")
    flushed = guest.writer_flushed()
    cut = run_and_copy(product, 0, tmp_path / "cut", "filesystem")
    assert examine_ext4(cut).quiesced
    wait_for(lambda: guest.writer_flushed() > flushed, PATIENCE, "the writer to go on after the thaw")
    assert flushed <= count_records(cut) <= guest.stop_writer()


def test_a_cut_without_a_freeze_does(product: Product, guest: Guest, tmp_path: Path) -> None:
    product.job("vm", quiesce="off")
    keep_busy(guest, "/data")
    assert examine_ext4(run_and_copy(product, 0, tmp_path / "cut", "crash")).needs_recovery


def test_xfs_holds_in_its_files_what_was_flushed(product: Product, vm: Guest, tmp_path: Path) -> None:
    """XFS marks its log as dirty even when it is frozen, so that unlinked files are cleared at the next mount: neither
    a flag nor `xfs_repair -n` tells. But frozen, it has nothing in its log that is not in its place, too.
    """
    vm.shell("rm -f /xfs/records && fsfreeze -f /xfs && fsfreeze -u /xfs")
    keep_busy(vm, "/xfs")
    flushed = vm.writer_flushed()
    product.job("vm", quiesce="off")
    crash = run_and_copy(product, 1, tmp_path / "crash", "crash")
    product.job("vm")
    quiesced = run_and_copy(product, 1, tmp_path / "quiesced", "filesystem")
    assert records_in_place(crash) < flushed <= records_in_place(quiesced)


def keep_busy(guest: Guest, mount: str) -> None:
    """Start a writer and let it get going."""
    guest.start_writer(mount)
    wait_for(lambda: guest.writer_flushed() > 20, PATIENCE, "a busy writer")


def run_and_copy(product: Product, disk: int, copy: Path, consistency: str) -> Path:
    """Run the job and copy what one disk held at the point in time. The guest goes on meanwhile."""
    ended = product.run()
    assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", consistency)
    below = target(ended.run)["snapshot"]["disks"][disk]["path"]
    subprocess.run(["qemu-img", "convert", "-U", "-O", "qcow2", below, str(copy)], check=True, timeout=60)
    return copy


def records_in_place(xfs: Path) -> int:
    """How many of the writer's records an XFS has in its file, as long as nobody replays its log."""
    raw = xfs.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(xfs), str(raw)], check=True, timeout=60)
    asked = ["xfs_db", "-r", "-c", "path /records", "-c", "print core.size", str(raw)]
    # It fails when there is no such file yet.
    answer = subprocess.run(asked, stdout=subprocess.PIPE, text=True, timeout=60, check=False).stdout
    found = re.search(r"core\.size = ([0-9]+)", answer)
    assert found or "No such file" in answer
    return int(found[1]) // RECORD_BYTES if found else 0
