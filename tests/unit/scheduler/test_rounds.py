"""The rounds: a freeze of somebody else is logged once, and told when it lasts."""

import threading
from collections.abc import Collection, Sequence
from datetime import datetime

import pytest

from orchestrator.clock import Stop, SystemClock
from orchestrator.errors import JournalUnavailable
from orchestrator.model import Notice, NoticeKind, Sight, Sighting
from orchestrator.scheduler.rounds import Rounds


class Eyes:
    """A service that sees what the test wants, and whoever is told of it."""

    def __init__(self) -> None:
        self.sees: list[Sight] = [Sight.THAWED]
        self.seen: list[Sequence[Sighting]] = []
        self.standing: list[list[str | None]] = []
        self.looked = threading.Semaphore(0)
        self.away = False

    def look(self, stop: Stop) -> tuple[Sighting, ...]:
        self.looked.release()
        if self.away:
            raise JournalUnavailable("the disk is full")
        return tuple(Sighting(f"m{number}", saw) for number, saw in enumerate(self.sees))

    def tell(self, notice: Notice) -> None:
        raise AssertionError

    def well(self, job: str, machine: str) -> None:
        raise AssertionError

    def stand(self, kind: NoticeKind, notices: Collection[Notice], seen: datetime) -> None:
        assert kind is NoticeKind.FOREIGN
        self.standing.append([notice.concern.machine for notice in notices])


def rounds(eyes: Eyes) -> Rounds:
    return Rounds(eyes, SystemClock(), eyes, eyes.seen.append)  # type: ignore[arg-type]  # it has all that is used


def test_a_foreign_freeze_stands_when_it_was_there_in_the_round_before(capsys: pytest.CaptureFixture[str]) -> None:
    eyes = Eyes()
    going = rounds(eyes)
    for saw in (Sight.FOREIGN, Sight.FOREIGN, Sight.FOREIGN, Sight.THAWED):
        eyes.sees = [saw, Sight.SILENT]
        going.look(Stop())
    assert eyes.standing == [[], ["m0"], ["m0"], []]
    assert len(eyes.seen) == 4
    said = capsys.readouterr().out
    assert said.count("frozen, and by no run") == 1
    assert said.count("not frozen by others any more") == 1


def test_a_journal_that_is_away_ends_no_rounds() -> None:
    eyes = Eyes()
    eyes.away = True
    rounds(eyes).look(Stop())
    assert (eyes.seen, eyes.standing) == ([], [])


def test_they_go_on_until_they_are_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.scheduler.rounds._EVERY", 0.0)
    eyes = Eyes()
    with rounds(eyes).going():
        for _ in range(3):
            assert eyes.looked.acquire(timeout=60)
