"""A bare QEMU that never boots, with every kind of disk; and monitors that are none."""

import json
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import CallError, OutcomeUnknown, Rejected, Unreachable
from orchestrator.hypervisor.qmp import BareMachine
from orchestrator.model import Disk, Overlay, Power
from tests.lab import wait_for
from tests.unit.hypervisor.still import MIB, StillQemu, image, within

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}


def put_on(disk: Disk, path: Path) -> Overlay:
    image(path, "qcow2", "-u", "-b", disk.path, "-F", disk.format)
    return Overlay(disk, str(path))


@pytest.mark.real
def test_only_what_a_guest_can_write_and_not_eject_is_a_disk(still: StillQemu, tmp_path: Path) -> None:
    files = {name: image(tmp_path / f"{name}.img", "raw") for name in ("vd", "bd", "cd", "fd", "ro", "idle", "flash")}
    qemu = still(
        *["-drive", f"if=virtio,format=raw,file={files['vd']}"],
        *[
            "-blockdev",
            f"driver=file,node-name=plain,filename={files['bd']}",
            "-device",
            "virtio-blk-pci,drive=plain,id=b",
        ],
        *["-drive", f"if=ide,media=cdrom,format=raw,file={files['cd']}", "-drive", "if=ide,media=cdrom"],
        *["-drive", f"if=floppy,format=raw,file={files['fd']}"],
        *["-drive", f"if=virtio,format=raw,readonly=on,file={files['ro']}"],
        *["-drive", f"if=none,format=raw,id=idle,file={files['idle']}"],
        *["-drive", f"if=pflash,format=raw,file={files['flash']}"],
    )
    named = {disk.name: disk for disk in qemu.machine.disks(within(30))}
    assert {name: disk.path for name, disk in named.items()} == {"virtio0": str(files["vd"]), "b": str(files["bd"])}
    assert named["virtio0"].format == "raw"
    assert named["b"].node == "plain"
    assert {disk.size_bytes for disk in named.values()} == {MIB}


@pytest.mark.real
def test_disks_that_are_no_file_are_refused(still: StillQemu) -> None:
    qemu = still("-blockdev", f"driver=null-co,node-name=null,size={MIB}", "-device", "virtio-blk-pci,drive=null,id=n")
    with pytest.raises(Rejected, match=r"the disk n .* cannot be put on a file overlay"):
        qemu.machine.disks(within(30))


@pytest.mark.real
def test_a_disk_that_qemu_names_by_a_description_is_found_by_its_file(still: StillQemu, tmp_path: Path) -> None:
    base, other = image(tmp_path / "base.img", "raw"), image(tmp_path / "other.img", "raw")
    top = image(tmp_path / "top.qcow2", "qcow2", "-b", str(base), "-F", "raw")
    qemu = still(
        *["-blockdev", f"driver=file,node-name=other,filename={other}"],
        *["-blockdev", f"driver=file,node-name=top-file,filename={top}"],
        *["-blockdev", "driver=qcow2,node-name=top,file=top-file,backing=other"],
        *["-device", "virtio-blk-pci,drive=top"],
    )
    [block] = qemu.ask("query-block")
    assert block["inserted"]["image"]["filename"].startswith("json:")
    [disk] = qemu.machine.disks(within(30))
    assert (disk.path, disk.format) == (str(top), "qcow2")
    assert qemu.machine.has_snapshot("x", [Overlay(disk, str(other))], within(30))
    assert not qemu.machine.has_snapshot("x", [Overlay(disk, str(base))], within(30))


@pytest.mark.real
@pytest.mark.parametrize("cache", ["none", "writeback", "unsafe"])
def test_an_overlay_is_cached_like_its_disk(still: StillQemu, tmp_path: Path, cache: str) -> None:
    path = image(tmp_path / "vm.qcow2")
    qemu = still("-drive", f"if=virtio,format=qcow2,file={path},cache={cache},detect-zeroes=unmap,discard=unmap")

    def written() -> tuple[Any, str]:
        [block] = qemu.ask("query-block")
        return block["inserted"]["cache"], block["inserted"]["detect_zeroes"]

    before = written()
    [disk] = qemu.machine.disks(within(30))
    overlays = [put_on(disk, tmp_path / "vm.quiesce-r1.qcow2")]
    qemu.machine.open_overlays(overlays, within(30))
    qemu.machine.snapshot("quiesce-r1", overlays, within(30))
    [after] = qemu.machine.disks(within(30))
    assert after.path == overlays[0].path
    assert after.name == disk.name
    assert written() == before


@pytest.mark.real
def test_a_disk_that_changed_since_the_plan_is_refused(still: StillQemu, tmp_path: Path) -> None:
    qemu = still("-drive", f"if=virtio,format=qcow2,file={image(tmp_path / 'vm.qcow2')}")
    [disk] = qemu.machine.disks(within(30))
    first, second = ([put_on(disk, tmp_path / f"vm.quiesce-r{run}.qcow2")] for run in (1, 2))
    qemu.machine.open_overlays(first, within(30))
    qemu.machine.snapshot("quiesce-r1", first, within(30))
    with pytest.raises(Rejected, match="the disk virtio0 no longer stands on"):
        qemu.machine.open_overlays(second, within(30))


@pytest.mark.real
def test_a_machine_that_waits_for_a_migration_is_migrating(still: StillQemu) -> None:
    assert still("-incoming", "defer").machine.power(within(30)) is Power.MIGRATING


@pytest.mark.real
def test_a_machine_that_was_not_started_is_paused_and_one_that_left_is_migrating(
    still: StillQemu, tmp_path: Path
) -> None:
    qemu = still()
    assert qemu.machine.power(within(30)) is Power.PAUSED
    qemu.ask("cont")
    qemu.ask("migrate", {"uri": f"exec:cat >{tmp_path / 'state'}"})
    wait_for(lambda: qemu.ask("query-migrate")["status"] == "completed", 20, "the end of the migration")
    assert qemu.machine.power(within(30)) is Power.MIGRATING


@pytest.mark.real
def test_a_second_client_is_told_that_there_is_one_and_served_after_it(still: StillQemu, tmp_path: Path) -> None:
    first = still().machine
    first.power(within(30))
    second = BareMachine(str(tmp_path / "qmp"))
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="serves one client at a time"):
        second.power(within(0.5))
    assert time.monotonic() - begun < 30
    first.close()
    assert second.power(within(30)) is Power.PAUSED
    second.close()


def qmp(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\r\n"


HELLO = (qmp(GREETING), qmp({"return": {}}))


def serve(server: socket.socket, says: Sequence[bytes], stays: bool) -> None:
    """Say the first thing to one client, and each next one after it has said something."""
    client, _ = server.accept()
    with client, suppress(OSError):
        for words in says:
            client.sendall(words)
            client.recv(65536)
        while stays and client.recv(65536):
            pass


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ([], Unreachable),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], Unreachable),
        ([b"[" * 200_000 + b"\r\n"], Unreachable),
        ([qmp({"QMP": []})], Unreachable),
        ([qmp(GREETING)], Unreachable),
        ([qmp(GREETING), qmp({"error": {"class": "GenericError", "desc": "no"}})], Unreachable),
        ([*HELLO], OutcomeUnknown),
        ([*HELLO, b"}\r\n"], OutcomeUnknown),
        ([*HELLO, b"\xff\xfe\r\n"], OutcomeUnknown),
        ([*HELLO, b"[" * 200_000 + b"\r\n"], OutcomeUnknown),
        ([*HELLO, b"x" * 11_000_000], OutcomeUnknown),
        ([*HELLO, qmp({"return": {"status": "running"}, "id": "__qmp#00007"})], OutcomeUnknown),
        ([*HELLO, qmp({"return": [], "id": "__qmp#00000"})], OutcomeUnknown),
        ([*HELLO, qmp({"error": 7, "id": "__qmp#00000"})], OutcomeUnknown),
        ([*HELLO, qmp({"error": {"class": "GenericError", "desc": "busy"}, "id": "__qmp#00000"})], Rejected),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else f"{len(value)} {b''.join(value)[-30:]!r}",
)
@pytest.mark.parametrize("stays", [True, False], ids=["stays", "hangs up"])
def test_a_monitor_that_is_none_is_an_error_in_time(
    tmp_path: Path, says: Sequence[bytes], error: type[CallError], stays: bool
) -> None:
    path = tmp_path / "qmp"
    machine = BareMachine(str(path))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        served = threading.Thread(target=serve, args=(server, says, stays))
        served.start()
        begun = time.monotonic()
        with pytest.raises(error) as caught:
            machine.power(within(1.5))
        assert time.monotonic() - begun < 30
    assert str(path) in str(caught.value) or error is Rejected or "does not fit" in str(caught.value)
    machine.close()
    served.join(30)
    assert not served.is_alive()


def test_a_socket_that_is_not_there_is_unreachable(tmp_path: Path) -> None:
    machine = BareMachine(str(tmp_path / "qmp"))
    with pytest.raises(Unreachable, match="No such file"):
        machine.power(within(30))
    machine.close()
    machine.close()


def test_a_monitor_can_be_used_again_after_it_was_closed(tmp_path: Path) -> None:
    machine = BareMachine(str(tmp_path / "qmp"))
    machine.close()
    with pytest.raises(Unreachable):
        machine.power(within(1))
