"""Snapshots that are let go are merged back, on real guests: every other point in time stays byte for byte."""

import hashlib
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.errors import Rejected
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Machine, Progress
from orchestrator.ports import DriverContext, Hypervisor, MergingHypervisor
from tests.lab import Guest
from tests.lab.kernel import run_tool
from tests.lab.libvirtd import virsh
from tests.lab.sharing import FreshLibvirtGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

CLOCK = SystemClock()
Made = Mapping[str, Any]


def within(seconds: float = 60) -> Deadline:
    return Deadline.after(CLOCK, seconds)


class Subject:
    """A guest whose snapshots come and go."""

    def __init__(self, guest: Guest, hypervisor: Hypervisor, folder: Path) -> None:
        self.guest, self.hypervisor, self._folder = guest, hypervisor, folder

    def driver(self) -> ExternalSnapshot:
        """The driver, as a new process would make it."""
        return ExternalSnapshot(DriverContext(Machine("vm"), "nightly", "r", {}, self.hypervisor, CLOCK))

    def cut(self, name: str) -> Made:
        """What a run leaves in the journal, after the guest has written something that its point in time has."""
        self.guest.shell(
            f"dd if=/dev/urandom of=/data/{name} bs=64k count=24 2>/dev/null; echo {name} >/xfs/last; sync"
        )
        driver = self.driver()
        plan = driver.plan(name, within())
        driver.prepare(plan, within())
        made = {"name": name, **driver.cut(plan, within())}
        journaled: Made = json.loads(json.dumps(made))
        return journaled

    def remove(self, made: Made, begun: Sequence[str] = ()) -> list[tuple[str, Progress]]:
        return list(self.removal(made, begun))

    def removal(self, made: Made, begun: Sequence[str] = ()) -> Generator[tuple[str, Progress], None, None]:
        return self.driver().remove(made, begun, within())

    def chains(self) -> Mapping[str, tuple[str, ...]]:
        assert isinstance(self.hypervisor, MergingHypervisor)
        return self.hypervisor.merges.chains(within())

    def begin_merge(self) -> str:
        """Begin to merge the overlay that the first disk stands on, and leave it; return the disk."""
        assert isinstance(self.hypervisor, MergingHypervisor)
        disk, chain = next(iter(self.chains().items()))
        self.hypervisor.merges.begin(disk, chain[0], chain[1], within())
        return disk

    def contents(self, made: Made) -> list[str]:
        """What each disk held at the point in time of a cut, read through all that lies below its overlay."""
        return [self._hash(self._below(disk["overlay"])) for disk in made["disks"]]

    def _below(self, overlay: str) -> str:
        (chain,) = (chain for chain in self.chains().values() if overlay in chain)
        return chain[chain.index(overlay) + 1]

    def _hash(self, path: str) -> str:
        raw = self._folder / "point.raw"
        run_tool("qemu-img", "convert", "--force-share", "-O", "raw", path, str(raw))
        with raw.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def sums(self) -> str:
        """What the guest reads of everything that was written, not from its cache."""
        self.guest.shell("sync; echo 3 >/proc/sys/vm/drop_caches")
        return self.guest.shell("md5sum /data/quiesce-* /xfs/last", timeout=60)


def overlays(made: Made) -> list[Path]:
    return [Path(disk["overlay"]) for disk in made["disks"]]


@pytest.fixture(params=["bare", "libvirt"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    guest: Guest = request.getfixturevalue(f"{request.param}_guest")
    hypervisor: Hypervisor
    if guest.qmp_socket is not None:
        hypervisor = BareMachine(str(guest.qmp_socket))
    else:
        hypervisor = LibvirtDomain("qemu:///system", guest.name, CLOCK)
    guest.shell("rm -f /data/quiesce-*")
    yield Subject(guest, hypervisor, tmp_path)
    hypervisor.close()


def test_any_snapshot_can_go_and_all_others_stay_what_they_were(subject: Subject) -> None:
    base = [chain[0] for chain in subject.chains().values()]
    first, second, third = (subject.cut(f"quiesce-m{turn}") for turn in range(1, 4))
    kept = {made["name"]: subject.contents(made) for made in (first, second, third)}
    assert len({str(sums) for sums in kept.values()}) == len(kept)
    seen = subject.sums()
    for gone, left in ((second, (first, third)), (third, (first,)), (first, ())):
        told = subject.remove(gone)
        assert [disk for disk, progress in told if progress.ended] == [*subject.chains()]
        assert not any(path.exists() for path in overlays(gone))
        assert {made["name"]: subject.contents(made) for made in left} == {m["name"]: kept[m["name"]] for m in left}
        assert subject.sums() == seen
        assert subject.remove(gone, begun=["whatever"]) == []
    assert [chain[0] for chain in subject.chains().values()] == base
    assert subject.guest.active_disks() == [Path(path) for path in base]
    subject.guest.shell("echo on >/data/quiesce-after; sync")


def test_a_merge_that_is_given_up_or_gives_way_is_taken_back(subject: Subject) -> None:
    first, second = subject.cut("quiesce-g1"), subject.cut("quiesce-g2")
    kept = subject.contents(first)
    removal = subject.removal(second)
    for _ in range(2):  # told of, and begun
        next(removal)
    removal.close()
    third = subject.cut("quiesce-g3")
    subject.begin_merge()
    subject.driver().give_way(third, within())
    fourth = subject.cut("quiesce-g4")
    for made in (second, third, fourth):
        subject.remove(made, begun=[*subject.chains()])
        assert subject.contents(first) == kept
    subject.remove(first)


def test_a_merge_whose_process_was_killed_is_gone_on_with(subject: Subject) -> None:
    first, second = subject.cut("quiesce-k1"), subject.cut("quiesce-k2")
    kept = subject.contents(first)
    disk = subject.begin_merge()  # of the active layer: it waits for somebody to end it, for ever if need be
    told = subject.remove(second, begun=[disk])
    assert {name for name, _ in told} == set(subject.chains())
    assert not any(path.exists() for path in overlays(second))
    assert subject.contents(first) == kept
    subject.remove(first)


def test_an_overlay_that_left_its_chain_by_another_hand_is_not_removed(subject: Subject) -> None:
    made = subject.cut("quiesce-o1")
    disks: list[dict[str, str]] = [{**disk, "overlay": disk["overlay"].replace("o1", "o9")} for disk in made["disks"]]
    strange = {"name": "quiesce-o9", "disks": disks}
    for disk in disks:
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", disk["overlay"], "1M")
        run_tool("qemu-io", "-c", "write 0 64k", disk["overlay"])
    with pytest.raises(Rejected, match="it is not known to be merged: a guest's data may be in it"):
        subject.remove(strange)
    assert all(path.exists() for path in overlays(strange))
    with pytest.raises(Rejected, match="does not carry our name"):
        subject.remove({**made, "name": "somebody-else"})
    for path in overlays(strange):
        path.unlink()
    subject.remove(made)


def test_a_machine_that_went_off_in_a_merge_loses_no_layer(
    fresh_libvirt_guest: FreshLibvirtGuest, tmp_path: Path
) -> None:
    """The definition of a domain that is off names the tops of its chains alone."""
    guest = fresh_libvirt_guest()
    subject = Subject(guest, LibvirtDomain("qemu:///system", guest.name, CLOCK), tmp_path)
    first, second = subject.cut("quiesce-f1"), subject.cut("quiesce-f2")
    removal = subject.removal(first)
    next(removal)
    virsh("destroy", guest.name)
    with pytest.raises(Rejected, match="the machine is off: its overlays are merged when it runs"):
        list(removal)
    with pytest.raises(Rejected, match="the machine is off: its overlays are merged when it runs"):
        subject.remove(first, begun=["vda", "vdb"])
    assert all(path.exists() for path in (*overlays(first), *overlays(second)))
    virsh("start", guest.name)
    subject.remove(first, begun=["vda", "vdb"])
    assert not any(path.exists() for path in overlays(first))
    subject.hypervisor.close()


def test_a_qemu_that_was_started_anew_on_an_older_file_loses_no_overlay(subject: Subject) -> None:
    """It shows no trace of the overlay, whose data are the guest's newest, although a merge of it was once begun."""
    made = subject.cut("quiesce-n1")
    stray = {**made, "name": "quiesce-n9", "disks": []}
    for disk in made["disks"]:
        path = disk["overlay"].replace("n1", "n9")
        run_tool("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", disk["overlay"], "-F", "qcow2", path, "1M")
        run_tool("qemu-io", "-f", "qcow2", "-c", "write 0 64k", f"json:{json.dumps(alone(path))}")
        stray["disks"].append({**disk, "overlay": path})
    with pytest.raises(Rejected, match="it is not known to be merged"):
        subject.remove(stray, begun=[*subject.chains()])
    assert all(path.exists() for path in overlays(stray))
    for path in overlays(stray):
        path.unlink()
    subject.remove(made)


def alone(path: str) -> dict[str, Any]:
    """An overlay without what is below it, which is in use."""
    return {"driver": "qcow2", "backing": None, "file": {"driver": "file", "filename": path}}
