"""Examining backups, over real repositories, real images and file systems, and guests that only seem to boot."""

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import SystemClock
from orchestrator.errors import RepositoryError, Untrusted
from orchestrator.examining import BOOT, Examiner, Found, trust
from orchestrator.images import QemuImages
from orchestrator.model import Backup, Consistency, ExaminedFilesystem, Proof, StoredDisk, Verified, Verify
from orchestrator.repository import FolderRepository
from tests.backups import backup, publish, publish_images, repository
from tests.fakes.agent import FakeAgent
from tests.fakes.clock import SteppedClock
from tests.fakes.domains import FakeDomains

URI = "test:///default"
SIZE = 8 << 20
CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel></devices>"


@pytest.fixture
def here(tmp_path: Path) -> FolderRepository:
    return repository(tmp_path)


@pytest.fixture
def guest(tmp_path: Path) -> Iterator[FakeAgent]:
    with FakeAgent(tmp_path / "qga.sock") as guest:
        yield guest


def examine(
    here: FolderRepository,
    backup: Backup,
    verify: Verify,
    agent: Path | None = None,
    domains: FakeDomains | None = None,
) -> Verified:
    """Examine that backup; the agent of whatever boots is at the socket `agent`."""
    clock, found = SystemClock() if agent else SteppedClock(), domains or FakeDomains()
    examiner = Examiner(
        QemuImages(SystemClock()),
        lambda uri: {URI: found}[uri],
        lambda machine: GuestAgent(unix_channel(str(agent))),
        clock,
    )
    return examiner.examine(Found(here, backup), verify, URI)


def publish_ext4(here: FolderRepository, *changes: str, **fields: Any) -> Backup:
    """A backup with these fields whose only disk is an ext4, which debugfs has changed so."""
    saved = backup()
    assert saved.domain_xml is not None
    saved = dataclasses.replace(
        saved,
        **fields,
        disks=(StoredDisk("vda", SIZE),),
        domain_xml=saved.domain_xml.replace("</devices>", CHANNEL),
    )
    image = here.stage("db1", "run-1") / "vda.qcow2"
    raw = image.with_name("raw")
    with raw.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run(["mkfs.ext4", "-q", raw], check=True)
    for change in changes:
        subprocess.run(["debugfs", "-w", "-R", change, raw], check=True, capture_output=True)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, image], check=True)
    raw.unlink()
    return here.publish(saved)


def test_sums_and_images_alone(here: FolderRepository) -> None:
    publish_images(here, backup("run-1"), "write -P 1 0 64k")
    saved = publish_images(here, backup("run-2", parent="run-1", hours=1), "write -P 2 0 64k")

    verified = examine(here, saved, Verify.CHECKSUM)

    assert verified == Verified(saved, str(here.path), Verify.CHECKSUM, (), ())
    trust(verified)


@pytest.mark.parametrize("broken", ["run-1", "run-2"])
def test_damage_to_the_backup_or_to_what_it_stands_on(here: FolderRepository, broken: str) -> None:
    publish_images(here, backup("run-1"), "write -P 1 0 64k")
    saved = publish_images(here, backup("run-2", parent="run-1", hours=1), "write -P 2 0 64k")
    (here.folder(here.backup("db1", broken)) / "vda.qcow2").write_bytes(b"")

    verified = examine(here, saved, Verify.FILESYSTEM)

    [problem] = verified.problems
    assert f"{broken}/vda.qcow2 has 0 bytes" in problem
    with pytest.raises(Untrusted, match=r"the backup run-2 is not to be trusted: .* has 0 bytes"):
        trust(verified)


def test_a_chain_that_is_broken(here: FolderRepository) -> None:
    first = publish_images(here, backup("run-1"))
    saved = publish_images(here, backup("run-2", parent="run-1", hours=1))
    here.folder(first).rename(here.path / "elsewhere")

    assert "stands on run-1, which is missing" in examine(here, saved, Verify.CHECKSUM).problems[0]


def test_what_was_no_image_when_it_was_published(here: FolderRepository) -> None:
    saved = publish(here, backup())

    assert "Image is not in qcow2 format" in examine(here, saved, Verify.CHECKSUM).problems[0]


def test_a_file_system_at_rest(here: FolderRepository) -> None:
    verified = examine(here, publish_ext4(here), Verify.FILESYSTEM)

    assert verified.filesystems == (ExaminedFilesystem("vda", 0, "ext4", True, False),)
    assert verified.problems == ()


def test_a_file_system_that_was_not_at_rest_refutes_the_quiesce(here: FolderRepository) -> None:
    verified = examine(here, publish_ext4(here, "feature needs_recovery"), Verify.FILESYSTEM)

    assert verified.problems == ("vda: the ext4 at 0 was not at rest at the cut: its journal must be replayed",)


def test_a_crash_consistent_backup_is_not_expected_to_be_at_rest(here: FolderRepository) -> None:
    saved = publish_ext4(here, "feature needs_recovery", consistency=Consistency.CRASH)

    verified = examine(here, saved, Verify.FILESYSTEM)

    assert verified.filesystems == (ExaminedFilesystem("vda", 0, "ext4", True, True),)
    assert verified.problems == ()


def test_a_file_system_that_was_not_to_be_frozen_is_not_expected_to_be_at_rest(here: FolderRepository) -> None:
    saved = publish_ext4(here, "feature needs_recovery", proof=Proof(1, 1, mountpoints=("/data",)))

    assert examine(here, saved, Verify.FILESYSTEM).problems == ()


def test_a_damaged_file_system_is_not_booted(here: FolderRepository) -> None:
    verified = examine(here, publish_ext4(here, "clri <2>"), Verify.BOOT)

    [problem] = verified.problems
    assert problem.startswith("vda: the ext4 at 0 is damaged: e2fsck: ")
    assert verified.boot_seconds is None


def test_a_backup_that_boots(here: FolderRepository, guest: FakeAgent) -> None:
    saved, domains = publish_ext4(here), FakeDomains()

    verified = examine(here, saved, Verify.BOOT, guest.path, domains)

    assert verified.problems == ()
    assert verified.boot_seconds is not None
    assert guest.calls == ["guest-ping"]
    assert domains.defined == {}
    assert examine(here, saved, Verify.CHECKSUM).problems == ()


def test_a_backup_whose_agent_never_answers(here: FolderRepository) -> None:
    verified = examine(here, publish_ext4(here), Verify.BOOT)

    assert verified.problems == (f"it was booted, and its agent did not answer within {BOOT:g} s",)


def test_a_backup_without_a_domain_cannot_be_booted(here: FolderRepository) -> None:
    saved = publish_images(here, dataclasses.replace(backup(), domain_xml=None))

    with pytest.raises(RepositoryError, match="db1 cannot be booted: it holds no domain"):
        examine(here, saved, Verify.BOOT)
