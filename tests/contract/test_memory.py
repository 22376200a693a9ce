"""What people were told, on SQLite and PostgreSQL, and in the memory that stands in for them."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from orchestrator.model import Concern, NoticeKind, Told
from orchestrator.ports import Memory
from tests.fakes.memory import InMemory
from tests.journals import NOW, open_journal

STUCK = Concern(NoticeKind.STUCK, machine="db1")
FAILED = Concern(NoticeKind.FAILED, "nightly", "db1")
MISSED = Concern(NoticeKind.MISSED, "nightly")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres), "memory"])
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    """Each memory in turn, empty."""
    if request.param == "memory":
        yield InMemory()
        return
    with closing(open_journal(request.getfixturevalue(f"{request.param}_url"))) as journal:
        yield journal.memory()


def test_what_was_told_is_remembered_with_its_last_time_until_it_is_forgotten(memory: Memory) -> None:
    assert list(memory.told()) == []
    later = NOW + timedelta(days=1)
    for told in (Told(STUCK, NOW), Told(FAILED, NOW + timedelta(hours=1)), Told(MISSED, NOW), Told(STUCK, later)):
        memory.remember(told)
    memory.forget(MISSED)
    memory.forget(MISSED)
    assert list(memory.told()) == [Told(FAILED, NOW + timedelta(hours=1)), Told(STUCK, later)]
