"""Pruning, over the whole service: what is let go is gone and told so, whatever happens on the way."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from orchestrator.clock import Stop, SystemClock
from orchestrator.errors import ConfigError, JournalUnavailable, NotFound, OutcomeUnknown, Rejected
from orchestrator.model import Action, Fate, Job, Machine, Outcome, Pruned, Retention, Run, State
from orchestrator.ports import Driver, Hypervisor, Journal
from orchestrator.recorder import Recorder
from tests.fakes.agent import FakeAgent
from tests.fakes.driver import CopyingMemoryDriver
from tests.laws.conftest import World

LAST = Retention(keep_last=1)


class Killed(BaseException):
    """The process ends here."""


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def fates(pruned: tuple[Pruned, ...]) -> dict[str, Fate]:
    return {each.snapshot.run.id: each.fate for each in pruned}


def removal(world: World, run: Run) -> list[tuple[Action, Outcome]]:
    steps = world.journal.run(run.id).steps
    return [(step.action, step.outcome) for step in steps if step.action in {Action.REMOVE, Action.MERGE}]


@pytest.fixture
def runs(world: World, guest: FakeAgent) -> list[Run]:
    """Three runs with a snapshot each."""
    done = [world.service().run("nightly") for _ in range(3)]
    assert [run.state for run in done] == [State.DONE] * 3
    return done


def test_what_no_rule_keeps_is_removed_and_both_are_told(world: World, runs: list[Run]) -> None:
    pruned = world.service(retention=LAST).prune("nightly")
    assert list(fates(pruned).values()) == [Fate.REMOVED, Fate.REMOVED, Fate.KEPT]
    assert [each.reasons for each in pruned] == [("no rule keeps it",)] * 2 + [("last", "last good")]
    assert world.storages["vm"].snapshots == {runs[2].snapshot_name}
    assert removal(world, runs[0]) == [
        (Action.REMOVE, Outcome.INTENT),
        (Action.MERGE, Outcome.INTENT),
        (Action.MERGE, Outcome.DONE),
        (Action.REMOVE, Outcome.DONE),
    ]
    assert world.journal.run(runs[0].id).target("vm").snapshot is None
    assert world.journal.run(runs[2].id).target("vm").snapshot is not None
    assert fates(world.service(retention=LAST).prune("nightly")) == {runs[2].id: Fate.KEPT}


def test_a_snapshot_that_was_examined_and_found_wrong_takes_no_good_one_s_place(world: World, runs: list[Run]) -> None:
    [target] = runs[2].targets
    recorder = Recorder(target.machine.name, SystemClock())
    recorder.conclude(Action.EXAMINE, Outcome.FAILED, "its sum is wrong")
    world.journal.record(runs[2], recorder.steps)
    pruned = world.service(retention=LAST).prune("nightly")
    assert list(fates(pruned).values()) == [Fate.REMOVED, Fate.KEPT, Fate.KEPT]
    assert [each.reasons for each in pruned[1:]] == [("last good",), ("last",)]


def test_a_backup_is_removed_from_where_it_was_made(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.copying._PAUSE", 0.01)
    world.makes_driver = CopyingMemoryDriver
    for repository in ("/old", "/old", "/new"):
        assert world.service(repository=repository).run("nightly").state is State.DONE
    asked: list[str | None] = []
    connect = world.driver

    def driver(job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        asked.append(job.repository)
        return connect(job, machine, run_id, hypervisor)

    monkeypatch.setattr(world, "driver", driver)
    pruned = world.service(repository="/new", retention=LAST).prune("nightly")
    assert list(fates(pruned).values()) == [Fate.REMOVED, Fate.REMOVED, Fate.KEPT]
    assert asked == ["/old", "/old"]


def test_a_dry_run_says_the_same_and_does_nothing(world: World, runs: list[Run]) -> None:
    before = set(world.storages["vm"].snapshots)
    looked = world.service(retention=LAST).prune(dry_run=True)
    assert list(fates(looked).values()) == [Fate.DUE, Fate.DUE, Fate.KEPT]
    assert world.storages["vm"].snapshots == before
    assert not any(removal(world, run) for run in runs)


def test_without_a_retention_everything_is_kept(world: World, runs: list[Run]) -> None:
    assert world.service().prune() == ()
    with pytest.raises(ConfigError, match="job 'nightly' has no `retention`"):
        world.service().prune("nightly")
    with pytest.raises(NotFound):
        world.service(retention=LAST).prune("weekly")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("error", [Killed(), Rejected("no space left"), OutcomeUnknown("lost")], ids=repr)
def test_a_removal_that_broke_off_is_gone_on_with(
    world: World, runs: list[Run], moment: str, error: BaseException
) -> None:
    service = world.service(retention=LAST)
    getattr(world.storages["vm"], moment)["remove"].append(raising(error))
    if isinstance(error, Killed):
        with pytest.raises(Killed):
            service.prune("nightly")
    else:
        pruned = service.prune("nightly")
        assert list(fates(pruned).values()) == [Fate.FAILED, Fate.REMOVED, Fate.KEPT]
        assert pruned[0].error == str(error)
    # It cannot be restored any more, and is not forgotten before it is gone.
    assert world.journal.run(runs[0].id).target("vm").snapshot is None
    assert runs[0].id in {snapshot.run.id for snapshot in world.journal.snapshots()}
    again = world.service(retention=LAST).prune("nightly")
    assert fates(again)[runs[0].id] is Fate.REMOVED
    assert world.storages["vm"].snapshots == {runs[2].snapshot_name}
    assert [snapshot.run.id for snapshot in world.journal.snapshots()] == [runs[2].id]


class Losing:
    """A journal whose next record is, or is not, written, and whose answer is lost."""

    def __init__(self, journal: Journal, records: int, *, written: bool) -> None:
        self._journal, self._left, self._written = journal, records, written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    def record(self, run: Run, steps: Any) -> None:
        self._left -= 1
        if self._left != 0 or self._written:
            self._journal.record(run, steps)
        if self._left == 0:
            raise JournalUnavailable("the connection broke")


@pytest.mark.parametrize("written", [True, False], ids=["written", "not written"])
@pytest.mark.parametrize("record", [1, 2, 3])
def test_a_journal_that_goes_away_in_a_removal_is_told_by_the_next(
    world: World, runs: list[Run], record: int, written: bool
) -> None:
    journal = world.journal
    world.journal = Losing(journal, record, written=written)
    with pytest.raises(JournalUnavailable):
        world.service(retention=LAST).prune("nightly")
    if record == 1 and not written:  # No journal, no removal.
        assert runs[0].snapshot_name in world.storages["vm"].snapshots
    world.journal = journal
    world.service(retention=LAST).prune("nightly")
    assert world.storages["vm"].snapshots == {runs[2].snapshot_name}
    assert [snapshot.run.id for snapshot in journal.snapshots()] == [runs[2].id]


def test_a_machine_in_an_open_run_is_left_alone(world: World, runs: list[Run]) -> None:
    other = replace(
        runs[0],
        id="open",
        owner=world.owner,
        steps=(),
        targets=(replace(runs[0].targets[0], state=State.PENDING, snapshot=None),),
    )
    world.journal.open_run(other)
    pruned = world.service(retention=LAST).prune("nightly")
    assert list(fates(pruned).values()) == [Fate.DUE, Fate.DUE, Fate.KEPT]
    assert pruned[0].error == "vm is in the open run open: the next pruning removes it"
    assert len(world.storages["vm"].snapshots) == 3


def test_a_wish_to_stop_ends_it_between_two(world: World, runs: list[Run]) -> None:
    stop = Stop()
    world.storages["vm"].after["remove"].append(stop.request)
    pruned = world.service(retention=LAST).prune("nightly", stop=stop)
    assert list(fates(pruned).values()) == [Fate.FAILED, Fate.DUE, Fate.KEPT]
    again = world.service(retention=LAST).prune("nightly")
    assert list(fates(again).values()) == [Fate.REMOVED, Fate.REMOVED, Fate.KEPT]


def test_days_are_those_of_the_job_s_time_zone(world: World, runs: list[Run]) -> None:
    for zone in ("Pacific/Kiritimati", "Pacific/Niue"):  # never the same day
        pruned = world.service(retention=Retention(keep_daily=1), timezone=zone).prune(dry_run=True)
        day = pruned[-1].snapshot.created_at.astimezone(ZoneInfo(zone)).date()
        assert pruned[-1].reasons == (f"daily {day}", "last good")


def test_machines_are_pruned_each_for_itself(world: World) -> None:
    for name in ("vm", "other"):
        world.add_guest(name)
    service = world.service(retention=LAST)
    runs = [service.run("nightly"), service.run("nightly", machine="vm")]
    service.prune(machine="vm")
    assert world.storages["vm"].snapshots == {runs[1].snapshot_name}
    assert world.storages["other"].snapshots == {runs[0].snapshot_name}
    service.prune()
    assert world.storages["other"].snapshots == {runs[0].snapshot_name}
    assert {snapshot.machine.name for snapshot in world.journal.snapshots(job="nightly")} == {"vm", "other"}
