"""Where overlays go and how their files are made, without a machine."""

import dataclasses
import os
import stat
import subprocess
from pathlib import Path

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.errors import ConfigError, Rejected
from orchestrator.model import Machine
from orchestrator.ports import DriverContext, Hypervisor, Plan
from tests.fakes.shelf import Shelf

EXAMPLE = DriverContext(Machine("db1"), "nightly", "r1", {}, None, SystemClock())


def soon() -> Deadline:
    return Deadline.after(SystemClock(), 10)


def driver(hypervisor: Hypervisor) -> ExternalSnapshot:
    return ExternalSnapshot(dataclasses.replace(EXAMPLE, hypervisor=hypervisor))


def raw(path: Path, mode: int = 0o640) -> Path:
    path.write_bytes(bytes(1 << 20))
    path.chmod(mode)
    return path


def planned(*disks: str) -> list[str]:
    plan = driver(Shelf(*map(Path, disks))).plan("quiesce-r2", soon())
    return [disk["overlay"] for disk in plan["disks"]]


def test_options_and_machines_that_do_not_fit_are_named() -> None:
    with pytest.raises(ConfigError, match="job nightly: the driver has no option 'compress'; it has no options"):
        ExternalSnapshot(dataclasses.replace(EXAMPLE, options={"compress": True}))
    with pytest.raises(ConfigError, match="job nightly: the machine db1 has neither"):
        ExternalSnapshot(EXAMPLE)


def test_an_overlay_lies_beside_its_disk_and_its_name_does_not_grow() -> None:
    assert planned("/a/vm.qcow2", "/b/vm.img") == ["/a/vm.quiesce-r2.qcow2", "/b/vm.quiesce-r2.qcow2"]
    assert planned("/a/vm.quiesce-r1.qcow2") == ["/a/vm.quiesce-r2.qcow2"]
    assert planned("/a/vm.v1.2.quiesce-r1.qcow2") == ["/a/vm.v1.2.quiesce-r2.qcow2"]
    assert planned("/a/plain") == ["/a/plain.quiesce-r2.qcow2"]


def test_disks_that_differ_in_their_suffix_alone_keep_it() -> None:
    first = planned("/a/vm.raw", "/a/vm.qcow2")
    assert first == ["/a/vm.raw.quiesce-r2.qcow2", "/a/vm.qcow2.quiesce-r2.qcow2"]
    assert planned("/a/vm.raw.quiesce-r1.qcow2", "/a/vm.qcow2.quiesce-r1.qcow2") == first


def test_disks_that_would_share_an_overlay_are_refused() -> None:
    with pytest.raises(Rejected, match=r"the same overlay /a/vm\.qcow2\.quiesce-r2\.qcow2"):
        planned("/a/vm.quiesce-r1.qcow2", "/a/vm.qcow2")


def test_a_machine_without_disks_is_refused() -> None:
    with pytest.raises(Rejected, match="no writable disk"):
        planned()


def test_a_file_that_is_there_already_is_not_overwritten(tmp_path: Path) -> None:
    shelf = Shelf(raw(tmp_path / "vm.raw"))
    plan = driver(shelf).plan("quiesce-r2", soon())
    foreign = tmp_path / "vm.quiesce-r2.qcow2"
    foreign.write_text("somebody else's")
    with pytest.raises(Rejected, match="exists already"):
        driver(shelf).plan("quiesce-r2", soon())
    with pytest.raises(Rejected, match="File exists"):
        driver(shelf).prepare(plan, soon())
    assert foreign.read_text() == "somebody else's"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_an_overlay_is_as_readable_as_its_disk(tmp_path: Path, mode: int) -> None:
    disk = raw(tmp_path / "vm.raw", mode)
    if os.geteuid() == 0:
        os.chown(disk, 12345, 23456)
    shelf = Shelf(disk)
    driver(shelf).prepare(driver(shelf).plan("quiesce-r2", soon()), soon())
    made, model = (tmp_path / "vm.quiesce-r2.qcow2").stat(), disk.stat()
    assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (model.st_uid, model.st_gid, mode)


def test_what_qemu_img_says_is_told(tmp_path: Path) -> None:
    shelf = Shelf(raw(tmp_path / "vm.raw"))
    plan = driver(shelf).plan("quiesce-r2", soon())
    plan["disks"][0]["format"] = "no-such-format"
    with pytest.raises(Rejected, match=r"cannot make the overlay .*: qemu-img: .*no-such-format"):
        driver(shelf).prepare(plan, soon())


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "gone" / "vm.raw")
    with pytest.raises(Rejected, match=r"cannot make the overlay .*: No such file or directory"):
        driver(shelf).prepare(driver(shelf).plan("quiesce-r2", soon()), soon())


def test_on_a_remote_host_no_file_is_touched(tmp_path: Path) -> None:
    shelf = Shelf(raw(tmp_path / "vm.raw"), local=False)
    plan = driver(shelf).plan("quiesce-r2", soon())
    driver(shelf).prepare(plan, soon())
    assert [path.name for path in tmp_path.iterdir()] == ["vm.raw"]
    kept = raw(tmp_path / "vm.quiesce-r2.qcow2")
    driver(shelf).discard(plan, soon())
    assert kept.exists()


def test_only_what_carries_our_name_is_removed(tmp_path: Path) -> None:
    shelf = Shelf(raw(tmp_path / "vm.raw"))
    plan = driver(shelf).plan("quiesce-r2", soon())
    plan["disks"][0]["overlay"] = str(raw(tmp_path / "other.raw"))
    with pytest.raises(Rejected, match="does not carry our name"):
        driver(shelf).discard(plan, soon())
    assert (tmp_path / "other.raw").exists()


def test_a_layer_of_a_machine_that_is_off_is_found_in_the_files(tmp_path: Path) -> None:
    base = raw(tmp_path / "vm.raw")
    plans: list[Plan] = []
    for name in ("quiesce-r1", "quiesce-r2"):
        top = tmp_path / f"vm.{plans[-1]['snapshot']}.qcow2" if plans else base
        shelf = Shelf(top)
        plan = driver(shelf).plan(name, soon())
        plan["disks"][0]["format"] = "qcow2" if plans else "raw"
        driver(shelf).prepare(plan, soon())
        plans.append(plan)
    off = driver(Shelf(tmp_path / "vm.quiesce-r2.qcow2"))
    for plan in plans:
        assert off.happened(plan, soon()) is not None
        with pytest.raises(Rejected, match="nothing was removed"):
            off.discard(plan, soon())
    below = driver(Shelf(base))
    assert below.happened(plans[0], soon()) is None
    below.discard(plans[0], soon())
    assert not (tmp_path / "vm.quiesce-r1.qcow2").exists()


def test_an_overlay_that_a_guest_has_written_to_is_never_removed(tmp_path: Path) -> None:
    # A bare QEMU that was started anew on its old disks after a cut that nobody had journaled.
    disks = raw(tmp_path / "a.img"), raw(tmp_path / "b.img")
    subject = driver(Shelf(*disks))
    plan = subject.plan("quiesce-r1", soon())
    subject.prepare(plan, soon())
    written = tmp_path / "b.quiesce-r1.qcow2"
    subprocess.run(["qemu-io", "-c", "write 64k 64k", written], check=True, capture_output=True)
    with pytest.raises(Rejected, match=f"{written} holds what a guest has written"):
        subject.discard(plan, soon())
    assert written.exists() and (tmp_path / "a.quiesce-r1.qcow2").exists()
