"""Backups for tests: a repository in a folder of the test's own, and what is put into it."""

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.model import Backup, Consistency, OsInfo, Proof, StoredDisk
from orchestrator.repository import FolderRepository

MORNING = datetime(2026, 11, 28, 6, 0, tzinfo=UTC)


def repository(folder: Path) -> FolderRepository:
    """A repository below `folder`, with the host's memory of it beside it."""
    return FolderRepository(folder / "repository", folder / "state")


def backup(
    run_id: str = "run-1", parent: str | None = None, hours: float = 0, disks: Sequence[str] = ("vda",)
) -> Backup:
    """A backup of `db1` that was cut so many hours after the morning."""
    return Backup(
        machine="db1",
        run_id=run_id,
        job="offsite",
        parent=parent,
        cut_at=MORNING + timedelta(hours=hours),
        consistency=Consistency.FILESYSTEM,
        proof=Proof(frozen=2, thawed=2, hold_ms=50.5, window_ms=120.25),
        disks=tuple(StoredDisk(name, 1 << 20) for name in disks),
        guest_os=OsInfo("debian", "Debian GNU/Linux", "12", "6.1.0"),
        domain_xml=domain_xml(*disks),
    )


def domain_xml(*disks: str) -> str:
    """The definition of `db1` with these disks."""
    devices = "".join(
        f"<disk type='file' device='disk'><source file='/images/{disk}'/><target dev='{disk}'/></disk>"
        for disk in disks
    )
    uuid = "<uuid>12345678-0000-4000-8000-000000000000</uuid>"
    return f"<domain type='qemu'><name>db1</name>{uuid}<devices>{devices}</devices></domain>"


def publish_images(repository: FolderRepository, backup: Backup, *writes: str) -> Backup:
    """Stage that backup, with a qcow2 file for each disk that holds those writes of qemu-io, and publish it."""
    folder = repository.stage(backup.machine, backup.run_id)
    for disk in backup.disks:
        image = str(folder / disk.file)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, str(disk.virtual_bytes)], check=True)
        commands = [word for write in writes for word in ("-c", write)]
        subprocess.run(["qemu-io", "-f", "qcow2", *commands, image], check=True, stdout=subprocess.DEVNULL)
    return repository.publish(backup)


def publish(repository: FolderRepository, backup: Backup) -> Backup:
    """Stage that backup, with some bytes for each disk, and publish it."""
    folder = repository.stage(backup.machine, backup.run_id)
    for disk in backup.disks:
        (folder / disk.file).write_bytes(f"{backup.run_id} {disk.name}\n".encode() * 1000)
    return repository.publish(backup)
