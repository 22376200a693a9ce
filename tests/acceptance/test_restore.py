"""Backups of real guests that come back: what each holds is proven without the product, and without the guest."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.product import Document, Product
from tests.lab import Guest, LibvirtGuest
from tests.lab.libvirtd import virsh
from tests.lab.proof import count_records

pytest_plugins = ["tests.lab.fixtures"]
#: A guest that boots in some seconds on a quiet machine takes minutes on a busy one.
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

PATIENCE = 300.0
NEW_NAME = "qlab-brought-back"
#: A file that was deleted while a program has it open. A frozen ext4 keeps it on its list of orphans, a frozen XFS in
#: its log, for the next mount: neither is damage.
OPEN_AND_DELETED = "exec 3>{0}/open; echo x >&3; sync; rm {0}/open; sleep 10000 <&3 >/dev/null 2>&1 &"


@pytest.fixture
def busy(guest: Guest) -> Iterator[Guest]:
    """A guest of each form with an application, and with files that are open and deleted."""
    yield from _busy(guest)


@pytest.fixture
def busy_domain(libvirt_guest: LibvirtGuest, product: Product) -> Iterator[Guest]:
    """A libvirt domain with the same."""
    product.machine("vm", libvirt_guest)
    yield from _busy(libvirt_guest)
    if NEW_NAME in virsh("list", "--all", "--name").split():
        virsh("undefine", NEW_NAME)


def _busy(guest: Guest) -> Iterator[Guest]:
    for mount in ("/data", "/xfs"):
        guest.shell(OPEN_AND_DELETED.format(mount))
    guest.start_writer()
    yield guest
    guest.run("killall sleep writer")


def back_up(product: Product, guest: Guest, times: int, tmp_path: Path) -> list[Document]:
    """Back up so often, and return the runs, each with the last records flushed before it began, and when it ended."""
    folder = guest.work / tmp_path.name
    product.job("vm", driver="backup", repository=str(folder), verify="filesystem", hold_limit="30s")
    runs = []
    for _ in range(times):
        before = guest.writer_flushed()
        ended = product.start("run", "job", "--json").wait(PATIENCE)
        assert ended.code == 0, ended.err
        assert ended.run["consistency"] == "filesystem"
        runs.append({**ended.run, "records": (before, guest.writer_flushed())})
    return runs


def restore(product: Product, run: Document, to: Path, *words: str) -> list[Path]:
    """Restore a backup, and check that its first disk holds every record that was flushed before its moment, whole."""
    ended = product("restore", run["id"], "--to", str(to), "--json", *words, timeout=PATIENCE)
    assert ended.code == 0, ended.err
    disks = [Path(disk["path"]) for disk in ended.document["disks"]]
    least, most = run["records"]
    assert least <= count_records(disks[0]) <= most
    assert all(disk.stat().st_blocks * 512 < disk.stat().st_size / 2 or disk.suffix != ".raw" for disk in disks)
    return disks


def verify(product: Product, run: Document, *words: str) -> Document:
    """Verify a backup, which is to be trusted: both its file systems were at rest, and the history says so."""
    ended = product("verify", run["id"], "--json", *words, timeout=PATIENCE)
    assert ended.code == 0, ended.err
    verified: Document = ended.document
    found = [(each["type"], each["clean"], each["needs_recovery"]) for each in verified["filesystems"]]
    assert found == [("ext4", True, False), ("xfs", True, None)]
    steps = product("show", run["id"], "--json").document["steps"]
    examined = [(step["figures"]["verify"], step["outcome"]) for step in steps if step["action"] == "examine"]
    by_the_run, by_hand = examined[:2], examined[2:]
    assert by_the_run == [("filesystem", "intent"), ("filesystem", "done")]
    assert by_hand == [(verified["verify"], "intent"), (verified["verify"], "done")]
    return verified


def test_a_chain_comes_back_and_boots(product: Product, busy_domain: Guest, tmp_path: Path) -> None:
    first, second, third = back_up(product, busy_domain, 3, tmp_path)

    restore(product, first, tmp_path / "first", "--format", "raw")
    restore(product, second, tmp_path / "second")
    disks = restore(product, third, tmp_path / "third", "--define", NEW_NAME)
    assert verify(product, third, "--boot")["boot_seconds"] > 0

    new, old = (ET.fromstring(virsh("dumpxml", name)) for name in (NEW_NAME, busy_domain.name))  # noqa: S314 - libvirt's
    assert [source.get("file") for source in new.iterfind("devices/disk/source")] == [str(disk) for disk in disks]
    assert new.findtext("uuid") != old.findtext("uuid")
    assert virsh("domstate", NEW_NAME).strip() == "shut off"
    assert product("repo", "check").code == 0
    assert not [name for name in virsh("list", "--all", "--name").split() if name.startswith("quiesce-verify-")]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_full_and_five_incremental_backups_each_come_back(product: Product, busy: Guest, tmp_path: Path) -> None:
    runs = back_up(product, busy, 6, tmp_path)

    for number, run in enumerate(runs):
        restore(product, run, tmp_path / str(number), "--format", "raw")
        verify(product, run, *(["--boot"] if isinstance(busy, LibvirtGuest) else []))
    assert product("repo", "check").code == 0
