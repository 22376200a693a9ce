"""What every Hypervisor promises, held by libvirt and by a bare QEMU, both with real guests."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.clock import Deadline, SystemClock
from orchestrator.errors import CallError, OutcomeUnknown, Rejected, Unreachable
from orchestrator.hypervisor.libvirt import LibvirtDomain
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Disk, Overlay, Power
from orchestrator.ports import Hypervisor
from tests.fakes.relay import Relay
from tests.lab import Guest, libvirtd
from tests.lab.kernel import run_tool

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


@dataclass
class Subject:
    """A guest, and its hypervisor reached through a relay that can lose answers."""

    guest: Guest
    relay: Relay
    hypervisor: Hypervisor

    def overlays(self, snapshot: str) -> tuple[Overlay, ...]:
        """An overlay file for each disk of the guest, made and closed."""
        disks = self.hypervisor.disks(within(30))
        return tuple(overlay(disk, self.guest.work / f"{disk.name}.{snapshot}.qcow2") for disk in disks)

    def stands_on(self) -> list[str]:
        """The files that the guest writes to, as the lab sees it."""
        return [str(path) for path in self.guest.active_disks()]

    def cut(self, snapshot: str) -> tuple[Overlay, ...]:
        """A whole snapshot."""
        overlays = self.overlays(snapshot)
        self.hypervisor.open_overlays(overlays, within(30))
        self.hypervisor.snapshot(snapshot, overlays, within(30))
        return overlays


def within(seconds: float) -> Deadline:
    return Deadline.after(SystemClock(), seconds)


def overlay(disk: Disk, path: Path) -> Overlay:
    run_tool(
        *["qemu-img", "create", "-f", "qcow2", "-u", "-b", disk.path, "-F", disk.format],
        *[str(path), str(disk.size_bytes)],
    )
    return Overlay(disk, str(path))


@pytest.fixture(params=["bare", "libvirt"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    path = tmp_path / "relay"
    guest: Guest = request.getfixturevalue(f"{request.param}_guest")
    hypervisor: Hypervisor
    if guest.qmp_socket is not None:
        target, hypervisor = guest.qmp_socket, BareMachine(str(path))
    else:
        target = libvirtd.SOCKET
        hypervisor = LibvirtDomain(f"qemu+unix:///system?socket={path}", guest.name, SystemClock())
    with Relay(path, target) as relay:
        yield Subject(guest, relay, hypervisor)
        hypervisor.close()


def test_tells_a_running_machine_from_a_paused_one(subject: Subject) -> None:
    assert subject.hypervisor.power(within(30)) is Power.RUNNING
    subject.guest.monitor("stop")
    try:
        assert subject.hypervisor.power(within(30)) is Power.PAUSED
    finally:
        subject.guest.monitor("cont")
    assert subject.hypervisor.power(within(30)) is Power.RUNNING


def test_disks_are_the_files_that_the_guest_writes_to(subject: Subject) -> None:
    disks = subject.hypervisor.disks(within(30))
    assert [disk.path for disk in disks] == subject.stands_on()
    assert {disk.format for disk in disks} == {"qcow2"}
    assert [disk.size_bytes >> 20 for disk in disks] == [64, 300]


def test_a_cut_moves_all_disks_and_is_known_by_its_overlays(subject: Subject) -> None:
    overlays = subject.overlays("quiesce-all")
    before = subject.stands_on()
    subject.hypervisor.open_overlays(overlays, within(30))
    assert subject.stands_on() == before
    assert not subject.hypervisor.has_snapshot("quiesce-all", overlays, within(30))
    subject.hypervisor.snapshot("quiesce-all", overlays, within(30))
    assert subject.stands_on() == [overlay.path for overlay in overlays]
    assert subject.hypervisor.has_snapshot("quiesce-all", overlays, within(30))


def test_cuts_can_be_stacked_and_the_lowest_is_still_known(subject: Subject) -> None:
    stack = [subject.cut(f"quiesce-stack{height}") for height in range(3)]
    assert subject.stands_on() == [overlay.path for overlay in stack[-1]]
    assert all(subject.hypervisor.has_snapshot("quiesce-stack", overlays, within(30)) for overlays in stack)


def test_overlays_are_opened_and_closed_any_number_of_times(subject: Subject) -> None:
    overlays = subject.overlays("quiesce-twice")
    before = subject.stands_on()
    for _ in range(2):
        subject.hypervisor.open_overlays(overlays, within(30))
    for _ in range(2):
        subject.hypervisor.close_overlays(overlays, within(30))
    assert subject.stands_on() == before
    opened = [node["file"] for node in subject.guest.monitor("query-named-block-nodes")]
    assert not {overlay.path for overlay in overlays} & set(opened)


def test_closing_never_takes_an_active_overlay_away(subject: Subject) -> None:
    overlays = subject.cut("quiesce-active")
    try:
        subject.hypervisor.close_overlays(overlays, within(30))
    except Rejected as refused:
        assert "in use" in str(refused)  # libvirt has nothing to close; both are right
    assert subject.stands_on() == [overlay.path for overlay in overlays]


def test_a_cut_moves_no_disk_when_it_cannot_move_all(subject: Subject) -> None:
    overlays = subject.overlays("quiesce-none")
    before = subject.stands_on()
    subject.hypervisor.open_overlays(overlays, within(30))
    subject.hypervisor.close_overlays(overlays[1:], within(30))
    Path(overlays[1].path).unlink()
    with pytest.raises(Rejected):
        subject.hypervisor.snapshot("quiesce-none", overlays, within(30))
    assert subject.stands_on() == before
    assert not subject.hypervisor.has_snapshot("quiesce-none", overlays, within(30))
    subject.hypervisor.close_overlays(overlays[:1], within(30))


def test_a_cut_whose_answer_was_lost_is_unknown_and_found_afterwards(subject: Subject) -> None:
    overlays = subject.overlays("quiesce-lost")
    subject.hypervisor.open_overlays(overlays, within(30))
    subject.relay.lose_answers(b"transaction" if subject.guest.qmp_socket else b"domainsnapshot")
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        subject.hypervisor.snapshot("quiesce-lost", overlays, within(1))
    assert time.monotonic() - begun < 30
    subject.relay.pass_on_answers()
    assert subject.hypervisor.has_snapshot("quiesce-lost", overlays, within(30))
    assert subject.stands_on() == [overlay.path for overlay in overlays]


def test_a_connection_that_broke_is_made_anew(subject: Subject) -> None:
    assert subject.hypervisor.power(within(30)) is Power.RUNNING
    subject.relay.sever()
    try:
        power = subject.hypervisor.power(within(30))
    except CallError:
        power = subject.hypervisor.power(within(30))
    assert power is Power.RUNNING


def test_a_mute_hypervisor_is_unreachable_in_time(subject: Subject) -> None:
    subject.relay.lose_answers()
    begun = time.monotonic()
    with pytest.raises(Unreachable):
        subject.hypervisor.power(within(0.5))
    assert time.monotonic() - begun < 30
    subject.relay.pass_on_answers()
    assert subject.hypervisor.power(within(30)) is Power.RUNNING


def test_a_hypervisor_that_is_gone_is_unreachable(subject: Subject) -> None:
    subject.relay.path.unlink()
    with pytest.raises(Unreachable, match=str(subject.relay.path)):
        subject.hypervisor.power(within(30))
