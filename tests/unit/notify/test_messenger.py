"""What is news is told once, again after a day, and once more when it is over; and nobody ever waits for it."""

import queue
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest

from orchestrator.clock import Clock, Deadline, SystemClock
from orchestrator.model import Concern, Delivery, Notice, NoticeKind
from orchestrator.notify.messenger import Messenger, message
from tests.fakes.memory import InMemory
from tests.journals import NOW

STUCK = Notice(Concern(NoticeKind.STUCK, machine="db1"), "STUCK db1")
FAILED = Notice(Concern(NoticeKind.FAILED, "nightly", "db1"), "FAILED db1")
MISSED = Notice(Concern(NoticeKind.MISSED, "nightly"), "MISSED nightly")
LATER = timedelta(seconds=1)


class Wall(SystemClock):
    """The time of day is moved by hand."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time


class Reader:
    """An address that keeps what it is sent."""

    name = "reader"

    def __init__(self) -> None:
        self.bodies: queue.Queue[str] = queue.Queue()
        self.takes = True
        self.open = threading.Event()
        self.open.set()

    def send(self, title: str, body: str, clock: Clock, deadline: Deadline) -> Delivery:
        self.open.wait()
        self.bodies.put(body)
        return Delivery(self.name, None if self.takes else "no")


class Desk:
    """A messenger and what it works with."""

    def __init__(self, memory: InMemory, on: frozenset[NoticeKind] = frozenset(NoticeKind)) -> None:
        self.clock, self.memory, self.reader, self.counts = Wall(), memory, Reader(), Counter[str]()
        self.messenger = Messenger(memory, self.clock, lambda outcome: self.counts.update([outcome]))
        self.messenger.configure([self.reader], on)  # type: ignore[list-item]  # it has all of an address that is used

    def read(self) -> str:
        return self.reader.bodies.get(timeout=60)

    def close(self) -> None:
        self.reader.open.set()
        self.messenger.close(Deadline.after(self.clock, 60))

    def all_read(self) -> bool:
        """Whether, when all is sent, there was nothing more to read."""
        self.close()
        return self.reader.bodies.empty()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.notify.messenger._GATHER", 0.0)


@pytest.fixture
def desk() -> Iterator[Desk]:
    with closing(Desk(InMemory())) as desk:
        yield desk


def test_what_lasts_is_told_once_and_again_after_a_day(desk: Desk) -> None:
    desk.messenger.tell(STUCK)
    assert desk.read() == "STUCK db1"
    desk.clock.time += timedelta(hours=23)
    desk.messenger.tell(STUCK)
    desk.clock.time += timedelta(hours=1)
    desk.messenger.tell(STUCK)
    assert desk.read() == "STUCK db1"
    assert desk.all_read()


def test_a_restart_tells_nothing_a_second_time() -> None:
    memory = InMemory()
    with closing(Desk(memory)) as before:
        before.messenger.tell(FAILED)
        assert before.read() == "FAILED db1"
    with closing(Desk(memory)) as after:
        after.messenger.tell(FAILED)
        after.messenger.tell(MISSED)
        assert after.read() == "MISSED nightly"
        after.messenger.well("nightly", "db1")
        assert after.read() == "OVER db1: nightly has done its work again."
        assert after.all_read()
    assert memory.known == {}


def test_what_is_over_is_told_if_people_knew_of_it(desk: Desk) -> None:
    desk.messenger.well("nightly", "db1")
    desk.messenger.tell(FAILED)
    assert desk.read() == "FAILED db1"
    desk.messenger.well("nightly", "db2")
    desk.messenger.well("nightly", "db1")
    assert desk.read() == "OVER db1: nightly has done its work again."
    desk.messenger.well("nightly", "db1")
    desk.messenger.tell(FAILED)
    assert desk.read() == "FAILED db1"
    assert desk.all_read()


def test_what_does_not_stand_any_more_is_over_unless_it_is_younger_than_the_look(desk: Desk) -> None:
    begin = desk.clock.now()
    desk.clock.time += LATER
    desk.messenger.tell(STUCK)
    assert desk.read() == "STUCK db1"
    desk.messenger.stand(NoticeKind.STUCK, [], begin)
    desk.messenger.stand(NoticeKind.FOREIGN, [], desk.clock.time + LATER)
    desk.messenger.stand(NoticeKind.STUCK, [STUCK], desk.clock.time + LATER)
    desk.messenger.stand(NoticeKind.STUCK, [], desk.clock.time + LATER)
    assert desk.read() == "OVER db1: it is not stuck any more."
    assert desk.all_read()


def test_a_recovered_machine_is_not_stuck_any_more(desk: Desk) -> None:
    desk.messenger.tell(STUCK)
    assert desk.read() == "STUCK db1"
    desk.messenger.tell(Notice(Concern(NoticeKind.RECOVERED, "nightly", "db1"), "RECOVERED db1"))
    assert desk.read() == "RECOVERED db1"
    desk.messenger.stand(NoticeKind.STUCK, [], desk.clock.time + LATER)
    assert desk.all_read()


def test_only_what_is_asked_for_is_told() -> None:
    with closing(Desk(InMemory(), frozenset({NoticeKind.STUCK}))) as desk:
        desk.messenger.tell(FAILED)
        desk.messenger.tell(STUCK)
        assert desk.read() == "STUCK db1"
        assert desk.all_read()


def test_what_nobody_took_is_news_still(desk: Desk) -> None:
    desk.reader.takes = False
    desk.messenger.tell(STUCK)
    assert desk.read() == "STUCK db1"
    desk.reader.takes = True
    while desk.memory.known == {}:  # the first one may be on its way back
        desk.messenger.tell(STUCK)
        if not desk.reader.bodies.empty():
            break
    assert desk.read() == "STUCK db1"
    assert desk.counts["failed"] == 1


def test_a_mute_address_holds_up_nobody_and_what_is_too_much_is_dropped(desk: Desk) -> None:
    desk.reader.open.clear()
    for number in range(5000):
        desk.messenger.tell(Notice(Concern(NoticeKind.FAILED, "nightly", f"db{number}"), "FAILED"))
    assert desk.counts["dropped"] >= 5000 - 2001
    desk.messenger.close(Deadline.after(desk.clock, 0.05))
    assert desk.reader.bodies.empty()
    begin = desk.clock.monotonic()
    desk.close()
    assert desk.clock.monotonic() - begin < 30  # and a full queue is no reason to wait longer for its end


def test_a_message_is_bounded_and_the_gravest_stands_first() -> None:
    many = [Notice(Concern(NoticeKind.FAILED, "nightly", f"db{number}"), f"FAILED {number}") for number in range(500)]
    title, body = message([*many, STUCK])
    assert title.endswith(": 1 stuck, 500 failed")
    assert body.startswith("STUCK db1\n\nFAILED 0\n\n")
    assert body.endswith("... and 481 more: `quiesce history` shows them.")
    assert len(body.split("\n\n")) == 21
