"""What the scheduler remembers, on SQLite and PostgreSQL, and in the memory that stands in for them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from orchestrator.model import Horizon, Pausable, Pause
from orchestrator.ports import Schedules
from tests.fakes.schedules import MemorySchedules
from tests.journals import NOW, open_journal

HORIZON = Horizon("0 2 * * *", NOW, NOW)
PAUSE = Pause(Pausable.MACHINE, "db1", NOW, "root@host", "the disks are being moved")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "memory"])
def schedules(request: pytest.FixtureRequest) -> Iterator[Schedules]:
    """Each memory in turn, empty."""
    if request.param == "memory":
        yield MemorySchedules()
        return
    with closing(open_journal(request.getfixturevalue(f"{request.param}_url"))) as journal:
        yield journal.schedules()


def test_nothing_is_decided_or_paused_at_first(schedules: Schedules) -> None:
    assert not schedules.horizons()
    assert schedules.pauses() == ()


def test_the_last_horizon_of_each_job_is_remembered(schedules: Schedules) -> None:
    later = Horizon("every 1h", NOW, NOW + timedelta(days=3, microseconds=1))
    schedules.decided({})
    schedules.decided({"nightly": HORIZON, "hourly": HORIZON})
    schedules.decided({"nightly": later})
    assert schedules.horizons() == {"hourly": HORIZON, "nightly": later}


def test_a_horizon_only_moves_on(schedules: Schedules) -> None:
    later = NOW + timedelta(microseconds=1)
    schedules.decided({"nightly": HORIZON, "hourly": HORIZON})
    schedules.passed("nightly", later)
    schedules.passed("nightly", NOW)
    schedules.passed("unknown", later)
    assert schedules.horizons() == {"hourly": HORIZON, "nightly": Horizon("0 2 * * *", NOW, later)}


def test_a_pause_lasts_until_it_is_resumed(schedules: Schedules) -> None:
    job = Pause(Pausable.JOB, "db1", NOW, "root@host")
    assert schedules.pause(PAUSE)
    assert schedules.pause(job)
    assert not schedules.pause(Pause(Pausable.JOB, "db1", NOW, "somebody else"))
    assert schedules.pauses() == (job, PAUSE)
    assert schedules.resume(Pausable.MACHINE, "db1")
    assert not schedules.resume(Pausable.MACHINE, "db1")
    assert schedules.pauses() == (job,)
