"""A stuck guest: tried again by whoever comes, by one at a time, and over only by a thaw or by an operator's word."""

from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.clock import Deadline, SystemClock, Task
from orchestrator.errors import MachineBusy
from orchestrator.evidence import leased_until, operators_word
from orchestrator.model import Action, Machine, Outcome, Owner, Run, State
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World, later
from tests.laws.dying import Killed, die_before_the_window, killed

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stuck guest is not tried for long here."""
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.3)
    monkeypatch.setattr("orchestrator.by_hand._TURN", 0.3)


@pytest.fixture
def stuck(world: World, guest: FakeAgent) -> Run:
    """A run whose thaw was refused, as every other one will be."""
    guest.faults[THAW].extend([faults.error("no")] * 10_000)
    run = world.service(thaw_timeout=0.3).run("nightly")
    assert (run.state, exit_code(run)) == (State.STUCK, 3)
    return run


def another_process(world: World) -> World:
    """The world of a second process; the first one lives on."""
    world.owner = replace(world.owner, pid=world.owner.pid + 1)
    return world


def test_it_is_for_whoever_comes_next_though_its_process_lives(world: World, guest: FakeAgent, stuck: Run) -> None:
    assert stuck.owner == world.owner.nobody
    guest.faults[THAW].clear()
    (run,) = another_process(world).service().recover()
    assert (run.id, run.state) == (stuck.id, State.RECOVERED)


def test_while_one_tries_the_others_leave_it_alone(
    world: World, guest: FakeAgent, stuck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 60)
    guest.faults[THAW].clear()
    slow = faults.late()
    guest.faults[THAW].append(slow)
    tried = guest.calls.count(THAW)
    first = world.service()
    task = Task(SystemClock(), "first", lambda: first.recover())
    guest.wait_for(lambda agent: agent.calls.count(THAW) > tried, 30)
    second = another_process(world).service()
    assert second.recover() == ()
    with pytest.raises(MachineBusy, match=f"may still be frozen by the stuck run {stuck.id}"):
        second.thaw("vm", force=True, reason="it is gone")

    slow.release()
    task.join()
    assert task.result()[0].state is State.RECOVERED


def test_a_thaw_by_hand_waits_for_its_turn(
    world: World, guest: FakeAgent, stuck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.by_hand._TURN", 60)
    guest.faults[THAW].clear()
    in_hand = world.journal.take_over(stuck, replace(world.owner, pid=world.owner.pid + 7))
    service = world.service()
    task = Task(SystemClock(), "by hand", lambda: service.thaw("vm"))
    assert not task.wait(Deadline.after(SystemClock(), 0.2))
    world.journal.take_over(in_hand, in_hand.owner.nobody)
    task.join()
    assert task.result().state is State.RECOVERED


def test_its_history_grows_when_there_is_news(
    world: World, guest: FakeAgent, stuck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = guest.calls.count(THAW)
    with monkeypatch.context() as patch:
        patch.setattr(SystemClock, "now", lambda _: stuck.steps[-1].at)  # however slow this machine is
        (run,) = world.service().recover()
        assert guest.calls.count(THAW) > tried
        assert (run.state, run.steps) == (State.STUCK, stuck.steps)

        guest.faults[THAW].clear()
        guest.faults[THAW].append(faults.Fault())
        guest.faults["guest-fsfreeze-status"].extend([faults.answer("frozen")] * 1000)
        (run,) = world.service().recover()
        assert run.state is State.STUCK
        assert {s.outcome for s in run.steps[len(stuck.steps) :] if s.action is Action.THAW} == {Outcome.DONE}

    later(monkeypatch, timedelta(days=2))
    (again,) = world.service().recover()
    assert len(again.steps) > len(run.steps)


def test_an_operators_word_closes_it_and_says_that_nothing_is_proven(
    world: World, guest: FakeAgent, stuck: Run
) -> None:
    assert world.service().thaw("vm", force=True).state is State.STUCK
    run = world.service().thaw("vm", force=True, reason="it was reset")

    assert (run.id, run.state) == (stuck.id, State.RECOVERED)
    assert run.error is not None
    assert run.error.startswith("an operator's word, not a confirmed thaw: it was reset")
    word = run.steps[-1]
    assert (word.action, word.outcome) == (Action.CONFIRM, Outcome.UNKNOWN)
    assert word.figures == {"by": "operator", "reason": "it was reset"}
    assert run.window_ms is None
    guest.faults[THAW].clear()
    guest.thaw_by_hand("/")
    guest.thaw_by_hand("/data")
    guest.believes_frozen = False
    assert world.service().run("nightly").state is State.DONE


def test_a_thaw_that_is_confirmed_needs_no_word(world: World, guest: FakeAgent, stuck: Run) -> None:
    guest.faults[THAW].clear()
    run = world.service().thaw("vm", force=True, reason="it was reset")
    assert run.state is State.RECOVERED
    assert operators_word(run.steps) is None
    assert not guest.frozen


def test_a_reason_for_a_foreign_freeze_goes_into_the_history(world: World, guest: FakeAgent) -> None:
    guest.frozen |= {"/"}
    guest.believes_frozen = True
    run = world.service().thaw("vm", force=True, reason="the other tool is gone")
    assert (run.state, run.steps[0].figures) == (State.DONE, {"reason": "the other tool is gone"})


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"namespace": 1}], ids=["host", "container"])
def test_whom_nobody_can_ask_has_until_its_lease_ends(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    dead = die_before_the_window(world, monkeypatch)
    world.gone.clear()
    theirs: Owner = replace(dead.owner, **change)  # type: ignore[arg-type]
    dead = world.journal.take_over(dead, theirs)
    guest.frozen |= {"/"}
    guest.believes_frozen = True
    service = world.service()

    assert service.recover() == ()
    with pytest.raises(MachineBusy, match=dead.id):
        service.thaw("vm", force=True, reason="it is gone")
    assert leased_until(dead) > SystemClock().now() + timedelta(seconds=5)

    later(monkeypatch, timedelta(hours=1))
    if theirs.host == world.owner.host:
        (run,) = service.recover()
        assert not guest.frozen
    else:  # What this host reaches by the same names are other guests.
        assert service.recover() == ()
        with pytest.raises(MachineBusy, match=f"run {dead.id} keeps vm.* its lease has ended.*--force --reason"):
            service.thaw("vm")
        run = service.thaw("vm", force=True, reason="the host burnt down")
        assert guest.frozen == {"/"}
        assert operators_word(run.steps) == "the host burnt down"
    assert run.state is State.RECOVERED


def test_who_takes_a_run_over_has_a_lease_of_its_own(world: World, guest: FakeAgent, stuck: Run) -> None:
    """Also for a recovery in another container, which is asked by nobody."""
    elsewhere = replace(world.owner, namespace=1)
    taken = world.journal.take_over(stuck, replace(elsewhere, until=SystemClock().now() + timedelta(minutes=1)))
    assert leased_until(taken) > SystemClock().now()
    assert world.service().recover() == ()


def test_a_guest_that_is_found_frozen_by_a_run_under_its_former_name_is_busy(
    world: World, guest: FakeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = die_before_the_window(world, monkeypatch)
    world.gone.clear()  # It lives.
    guest.frozen |= {"/"}
    guest.believes_frozen = True
    renamed = Machine("vm2", agent=world.machines["vm"].agent)
    world.machines, world.storages["vm2"] = {"vm2": renamed}, world.storages["vm"]
    run = world.service().run("nightly")

    assert (run.state, exit_code(run)) == (State.REFUSED, 5)
    assert run.error is not None
    assert f"vm is held by the living run {held.id}" in run.error
    with pytest.raises(MachineBusy, match=held.id):
        world.service().thaw("vm2", force=True)
    assert guest.frozen

    world.gone.add(held.owner)
    assert world.service().run("nightly").state is State.DONE
    assert world.journal.run(held.id).state is State.RECOVERED


def test_a_run_waits_for_the_recovery_of_its_own_machines_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    mute, other = world.add_guest("mute"), world.add_guest("other")
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.transaction.Window.run", lambda _: killed())
        with pytest.raises(Killed):
            world.service(thaw_timeout=120).run("nightly", machine="mute")
    world.die()
    (dead,) = world.journal.open_runs()
    mute.frozen |= {"/"}
    mute.believes_frozen = True
    held = faults.late()
    mute.faults[THAW].append(held)
    service = world.service()
    task = Task(SystemClock(), "run", lambda: service.run("nightly", machine="other"))
    other.wait_for(lambda agent: THAW in agent.calls, 60)
    assert world.journal.run(dead.id).state is State.RUNNING

    held.release()
    task.join()
    assert task.result().state is State.DONE
    assert world.journal.run(dead.id).state is State.RECOVERED
    assert not mute.frozen
