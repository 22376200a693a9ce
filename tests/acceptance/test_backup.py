"""Backups of real guests by the installed command: what they hold, and what is left of those that did not end well."""

import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Document, Product, outcomes, target
from tests.lab import Guest
from tests.lab.proof import count_records, examine_ext4

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

RANDOM = "dd if=/dev/urandom of={} bs=1M count={} conv=fsync 2>/dev/null"


@pytest.fixture
def repository(guest: Guest, product: Product, tmp_path: Path) -> Path:
    """The repository of the job, in the guest's folder: QEMU runs as another user."""
    return configure(product, guest, tmp_path)


def configure(product: Product, guest: Guest, tmp_path: Path, **keys: Any) -> Path:
    folder = guest.work / tmp_path.name
    product.job("vm", driver="backup", repository=str(folder), hold_limit="30s", **keys)
    return folder


def restored(product: Product, run: Document, to: Path) -> Path:
    """The guest's first disk, as it comes back from a backup."""
    ended = product("restore", run["id"], "--to", str(to))
    assert ended.code == 0, ended.err
    return sorted(to.iterdir())[0]


def prepared(run: Document) -> dict[str, Any]:
    """What the history says of the preparation."""
    figures: dict[str, Any] = next(
        step["figures"] for step in run["steps"] if (step["action"], step["outcome"]) == ("prepare", "done")
    )
    return figures


def stored_bytes(run: Document) -> int:
    return sum(disk["stored_bytes"] for disk in target(run)["snapshot"]["disks"])


def nothing_is_left(guest: Guest, repository: Path, kept: str) -> bool:
    """Neither a partial backup, nor a job, nor a file that QEMU has open, nor a bitmap but that of the run `kept`."""
    nodes = guest.monitor("query-named-block-nodes", {"flat": True})
    bitmaps = {bitmap["name"] for node in nodes for bitmap in node.get("dirty-bitmaps", [])}
    return (
        not list(repository.glob("*/.*"))
        and not guest.monitor("query-block-jobs")
        and not [node for node in nodes if str(repository) in node["file"]]
        and bitmaps == {f"quiesce-{kept}"}
    )


def test_a_full_and_an_incremental_backup_hold_what_was_flushed_before_their_cuts(
    product: Product, guest: Guest, repository: Path, tmp_path: Path
) -> None:
    guest.start_writer()
    runs, flushed = [], []
    for kind in ("full", "incremental"):
        if kind == "incremental":
            guest.shell(RANDOM.format("/data/changed", 10), timeout=60)
        before = guest.writer_flushed()
        ended = product.run()
        assert ended.code == 0, ended.err
        runs.append(ended.run)
        flushed.append((before, guest.writer_flushed()))
    full, incremental = runs

    assert "it is the first backup" in prepared(full)["why_full"]
    assert prepared(incremental) == {"parent": full["id"]}
    assert [each["consistency"] for each in runs] == ["filesystem", "filesystem"]
    assert outcomes(full)[-2:] == [("copy", "done"), ("publish", "done")]
    assert 10 << 20 <= stored_bytes(incremental) <= 15e6  # what was written, and what the file systems noted of it
    for run, (least, most) in zip(runs, flushed, strict=True):
        disk = restored(product, run, tmp_path / run["id"])
        assert examine_ext4(disk).quiesced
        assert least <= count_records(disk) <= most
    assert nothing_is_left(guest, repository, incremental["id"])
    assert product("repo", "check").code == 0
    guest.shell("rm /data/changed")


def test_what_a_killed_run_did_not_store_is_in_the_next_backup(
    product: Product, guest: Guest, repository: Path, tmp_path: Path
) -> None:
    first = product.run().run
    guest.shell(RANDOM.format("/data/one", 2))
    folder = tmp_path / "bin"
    folder.mkdir()
    product.environment["PATH"] = f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"
    # It looks so whether QEMU has closed the files, when the copy has ended and nothing is published.
    with Gate(folder, "qemu-img", before=f'test "$1" = info || exec {shutil.which("qemu-img")} "$@"') as gate:
        running = product.start("run", "job")
        gate.wait_entered()
        running.send(signal.SIGKILL)
        running.wait()
    product.environment.clear()

    (recovered,) = product("recover", "--json").document
    assert (recovered["state"], recovered["consistency"]) == ("recovered", "none")
    assert target(recovered)["snapshot"] is None
    assert nothing_is_left(guest, repository, first["id"])
    guest.shell(RANDOM.format("/data/two", 2))
    again = product.run().run
    assert prepared(again) == {"parent": first["id"]}
    disk = restored(product, again, tmp_path / "restored")
    sums = guest.shell("cd /data && md5sum one two")
    assert md5_in(disk, "one", "two") == sums
    guest.shell("rm /data/one /data/two")


def test_a_backup_that_is_stopped_while_it_copies_leaves_nothing(
    product: Product, bare_guest: Guest, tmp_path: Path
) -> None:
    product.machine("vm", bare_guest)
    repository = configure(product, bare_guest, tmp_path)
    first = product.run().run
    configure(product, bare_guest, tmp_path, rate="256KiB/s")
    bare_guest.shell(RANDOM.format("/data/one", 16))
    running = product.start("run", "job")
    running.wait_said("bytes_per_second=")
    running.send(signal.SIGTERM)
    ended = running.wait()

    assert ended.code == 1
    assert product.history()[0]["state"] == "cancelled"
    assert "ended by its user" in product.history()[0]["error"]
    assert nothing_is_left(bare_guest, repository, first["id"])
    bare_guest.shell("rm /data/one")


def test_a_chain_that_cannot_go_on_begins_anew_and_the_history_says_why(
    product: Product, guest: Guest, repository: Path
) -> None:
    first = product.run().run
    node = next(
        node["node-name"]
        for node in guest.monitor("query-named-block-nodes", {"flat": True})
        if node.get("dirty-bitmaps")
    )
    guest.monitor("block-dirty-bitmap-remove", {"node": node, "name": f"quiesce-{first['id']}"})
    second = product.run().run
    assert "bitmap" in prepared(second)["why_full"]
    assert nothing_is_left(guest, repository, second["id"])

    shutil.rmtree(target(second)["snapshot"]["path"])
    third = product.run().run
    assert third["state"] == "done"
    assert first["id"] in prepared(third)["why_full"]


def md5_in(image: Path, *files: str) -> str:
    """What `md5sum` says of files in the ext4 of an image."""
    raw = image.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
    folder = image.with_suffix(".files")
    folder.mkdir()
    for file in files:
        subprocess.run(["debugfs", "-R", f"dump /{file} {folder / file}", raw], check=True, capture_output=True)
    return subprocess.run(["md5sum", *files], cwd=folder, check=True, capture_output=True, text=True).stdout
