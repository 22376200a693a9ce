"""When a backup may stand on the last one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.drivers.chain import why_full
from orchestrator.model import Disk, StoredDisk
from tests.backups import MORNING, backup

CHAIN = (backup("full"), backup("one", "full", 1), backup("two", "one", 2))
DISKS = (Disk("vda", "vda", "/images/vda", "qcow2", 1 << 20),)
WEEK = 7 * 86400.0


def why(*disks: Disk, hours: float = 3, limit: int | None = None, every: float = WEEK) -> str:
    return why_full(CHAIN, disks, MORNING + timedelta(hours=hours), every, limit) or ""


def test_it_stands_on_the_last_one_when_all_is_as_it_was() -> None:
    assert why_full(CHAIN, DISKS, MORNING + timedelta(hours=3), WEEK, None) is None


@pytest.mark.parametrize(("hours", "full"), [(167.9, False), (168, True), (1000, True)])
def test_the_age_of_the_full_one_counts(hours: float, full: bool) -> None:
    assert ("the last full backup, full, has reached the age" in why(*DISKS, hours=hours)) is full


@pytest.mark.parametrize(("limit", "full"), [(0, True), (1, True), (2, True), (3, False), (None, False)])
def test_so_many_may_stand_on_it(limit: int | None, full: bool) -> None:
    assert ("2 incremental backups stand on full" in why(*DISKS, limit=limit)) is full


def test_without_incrementals_every_backup_is_full() -> None:
    assert why_full(CHAIN[:1], DISKS, MORNING, WEEK, 0) is not None


def test_the_disks_must_be_the_same() -> None:
    other = Disk("vdb", "vdb", "/images/vdb", "raw", 5)

    assert "vdb was added since two" in why(*DISKS, other)
    assert "vda was removed since two" in why()
    assert "vda had 1048576 bytes in two, and has 2097152 now" in why(replace(DISKS[0], size_bytes=2 << 20))


def test_a_disk_that_came_and_went_inside_the_chain_is_known_by_the_last_one() -> None:
    last = replace(CHAIN[-1], disks=(*CHAIN[-1].disks, StoredDisk("vdb", 5)))
    chain = (*CHAIN[:-1], last)

    assert "vdb was removed" in (why_full(chain, DISKS, MORNING, WEEK, None) or "")
