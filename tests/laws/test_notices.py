"""How runs end, as people are told of it."""

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import pytest

from orchestrator import notices
from orchestrator.model import Machine, Notice, NoticeKind, Quiesce
from orchestrator.witnessed import WitnessedJournal
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.laws.dying import die_before_the_window

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


class Listener:
    """A notifier that only listens."""

    def __init__(self) -> None:
        self.told: list[Notice] = []
        self.wells: list[tuple[str, str]] = []

    def tell(self, notice: Notice) -> None:
        self.told.append(notice)

    def well(self, job: str, machine: str) -> None:
        self.wells.append((job, machine))

    def stand(self, kind: NoticeKind, notices: Collection[Notice], seen: datetime) -> None: ...


@pytest.fixture
def listener(world: World) -> Listener:
    listener = Listener()
    world.journal = WitnessedJournal(world.journal, [notices.witness(world.journal, listener)])
    return listener


def test_a_good_run_is_no_news(world: World, guest: FakeAgent, listener: Listener) -> None:
    world.service().run("nightly")
    assert (listener.told, listener.wells) == ([], [("nightly", "vm")])


def test_a_failed_one_is_told_with_the_state_of_the_guest_and_what_to_do_and_hostile_text_is_escaped(
    world: World, guest: FakeAgent, listener: Listener
) -> None:
    guest.faults[FREEZE] += [faults.error("no\x1b[2J\nRECOVERED all is well")]
    run = world.service().run("nightly")
    [notice] = listener.told
    assert (notice.concern.kind, notice.concern.job, notice.concern.machine) == (NoticeKind.FAILED, "nightly", "vm")
    assert notice.text.startswith(f"nightly, run {run.id}: FAILED vm: ")
    assert "The guest is thawed. Next: `quiesce show" in notice.text
    assert r"no\x1b[2J\nRECOVERED" in notice.text
    assert notice.text.isprintable()
    assert listener.wells == []


def test_a_refused_one_did_not_do_its_work_either(world: World, guest: FakeAgent, listener: Listener) -> None:
    guest.frozen |= set(guest.mounts)
    guest.believes_frozen = True
    world.service().run("nightly")
    assert [notice.concern.kind for notice in listener.told] == [NoticeKind.FAILED]


@pytest.mark.parametrize(("quiesce", "kinds"), [(Quiesce.PREFERRED, [NoticeKind.DEGRADED]), (Quiesce.OFF, [])])
def test_less_than_was_wanted_is_told(
    world: World, tmp_path: Path, impatient: None, listener: Listener, quiesce: Quiesce, kinds: list[NoticeKind]
) -> None:
    world.add_guest("vm")
    world.machines["vm"] = Machine("vm", agent=str(tmp_path / "nowhere"))
    world.service(quiesce=quiesce).run("nightly")
    assert [notice.concern.kind for notice in listener.told] == kinds


def test_a_stuck_guest_is_told_and_its_recovery(
    world: World, guest: FakeAgent, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.3)
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    world.service(thaw_timeout=0.3).run("nightly")
    [notice] = listener.told
    assert (notice.concern.kind, notice.concern.job) == (NoticeKind.STUCK, None)
    assert "MAY STILL BE FROZEN" in notice.text
    guest.faults[THAW].clear()
    world.service().recover()
    assert [notice.concern.kind for notice in listener.told] == [NoticeKind.STUCK, NoticeKind.RECOVERED]


def test_a_run_whose_process_died_is_told_when_it_is_settled(
    world: World, guest: FakeAgent, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_before_the_window(world, monkeypatch)
    assert listener.told == []
    world.service().recover()
    assert [notice.concern.kind for notice in listener.told] == [NoticeKind.RECOVERED]
