"""The fuse in the guest: lit before the freeze, put out after the thaw whoever thawed, and seen when it burnt."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestrator.clock import Stop
from orchestrator.model import Action, Consistency, ExecResult, FreezeStatus, Outcome, Quiesce, Run, State, Step
from orchestrator.policy import exit_code
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.fakes.fuse import Fuses
from tests.laws.conftest import World
from tests.laws.dying import Killed, die_before_the_window, killed

FREEZE, THAW, EXEC = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-exec"
#: Seconds.
FUSE = 60.0


@pytest.fixture
def fuses(guest: FakeAgent) -> Fuses:
    return Fuses(guest)


def of_fuse(run: Run) -> list[Step]:
    return [step for step in run.steps if step.action is Action.FUSE]


def told(run: Run) -> list[tuple[Outcome, object]]:
    """What the steps say of the fuse: how they ended, and whether it may be lit then."""
    return [(step.outcome, step.figures.get("lit", True)) for step in of_fuse(run)]


LIT_AND_PUT_OUT = [(Outcome.INTENT, True), (Outcome.DONE, True), (Outcome.DONE, False)]


def test_it_is_lit_through_the_window_and_put_out_after_it(world: World, guest: FakeAgent, fuses: Fuses) -> None:
    lit = []
    world.storages["vm"].before["cut"].append(lambda: lit.append(dict(fuses.lit)))
    run = world.service(fuse=FUSE).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.FILESYSTEM, 0)
    assert lit == [{run.id: 60}]
    assert fuses.lit == {} and fuses.frozen_meanwhile == []
    assert told(run) == LIT_AND_PUT_OUT
    assert of_fuse(run)[-1].figures["found"] is True
    order = [step.action for step in run.steps if step.outcome is Outcome.DONE]
    at = order.index(Action.FUSE)
    assert order[at : at + 6] == [
        *[Action.FUSE, Action.FREEZE, Action.CUT, Action.THAW, Action.CONFIRM],
        Action.FUSE,
    ]


def test_without_the_policy_there_is_none(world: World, guest: FakeAgent, fuses: Fuses) -> None:
    run = world.service().run("nightly")
    assert of_fuse(run) == [] and EXEC not in guest.calls


def test_one_that_burns_before_the_thaw_is_seen_by_the_count(world: World, guest: FakeAgent, fuses: Fuses) -> None:
    world.storages["vm"].before["cut"].append(fuses.burn)
    run = world.service(fuse=FUSE).run("nightly")

    assert guest.calls.count(THAW) == 1
    assert (run.state, run.consistency, exit_code(run)) == (State.FAILED, Consistency.CRASH, 1)
    assert "found only 0 still frozen" in (run.error or "")
    assert of_fuse(run)[-1].figures["found"] is False


def forbidden(guest: FakeAgent) -> None:
    guest.disabled.add(EXEC)


def no_shell(guest: FakeAgent) -> None:
    guest.programs["/bin/sh"] = None


def no_linux(guest: FakeAgent) -> None:
    guest.programs["/bin/sh"] = ExecResult(2, b"", b"")


def lost(guest: FakeAgent) -> None:
    """It is lit, and nobody hears of it."""
    guest.faults["guest-exec-status"].append(faults.garbage())


IMPOSSIBLE = pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (forbidden, "has been disabled"),
        (no_shell, "No such file"),
        (no_linux, "not a Linux"),
        (lost, "is not known"),
    ],
)


@IMPOSSIBLE
@pytest.mark.parametrize("group", [False, True])
def test_where_it_cannot_be_no_guest_is_frozen(
    world: World, guest: FakeAgent, fuses: Fuses, trouble: Callable[[FakeAgent], None], said: str, group: bool
) -> None:
    other = world.add_guest("other")
    others = Fuses(other)
    trouble(guest)
    run = world.service(fuse=FUSE, group=group).run("nightly")

    target = run.target("vm")
    assert (target.state, target.consistency, exit_code(run)) == (State.FAILED, Consistency.NONE, 1)
    assert said in (target.error or "")
    assert FREEZE not in guest.calls and THAW not in guest.calls
    assert fuses.lit == others.lit == {}
    assert run.target("other").state is (State.FAILED if group else State.DONE)
    assert (FREEZE in other.calls) is not group
    assert world.guard.armed == {} and world.storages["vm"].prepared == set()
    assert told(run)[-1][1] is False


@IMPOSSIBLE
def test_where_it_need_not_be_the_run_goes_on_and_says_so(
    world: World, guest: FakeAgent, fuses: Fuses, trouble: Callable[[FakeAgent], None], said: str
) -> None:
    trouble(guest)
    run = world.service(fuse=FUSE, quiesce=Quiesce.PREFERRED).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.FILESYSTEM, 0)
    assert said in (of_fuse(run)[1].error or "")
    assert fuses.lit == {}
    assert told(run)[-1][1] is False


def test_without_a_freeze_none_is_lit(world: World, guest: FakeAgent, fuses: Fuses) -> None:
    assert of_fuse(world.service(fuse=FUSE, quiesce=Quiesce.OFF).run("nightly")) == []
    guest.disabled.add(FREEZE)
    assert of_fuse(world.service(fuse=FUSE, quiesce=Quiesce.PREFERRED).run("nightly")) == []
    guest.disabled.clear()
    world.guard.refuses = "no guard"
    for quiesce in (Quiesce.PREFERRED, Quiesce.REQUIRED):
        run = world.service(fuse=FUSE, quiesce=quiesce).run("nightly")
        assert told(run) == [(Outcome.INTENT, True), (Outcome.FAILED, False)]
    assert EXEC not in guest.calls


def test_a_run_that_its_user_ends_puts_it_out(world: World, guest: FakeAgent, fuses: Fuses) -> None:
    stop = Stop()
    world.storages["vm"].before["cut"].append(stop.request)
    run = world.service(fuse=FUSE).run("nightly", stop=stop)
    assert fuses.lit == {}
    assert told(run) == LIT_AND_PUT_OUT


def test_one_that_cannot_be_put_out_spoils_nothing(world: World, guest: FakeAgent, fuses: Fuses) -> None:
    world.storages["vm"].before["cut"].append(lambda: guest.disabled.add(EXEC))
    run = world.service(fuse=FUSE).run("nightly")

    assert (run.state, run.consistency, exit_code(run)) == (State.DONE, Consistency.FILESYSTEM, 0)
    assert told(run)[-1] == (Outcome.FAILED, True)
    guest.disabled.clear()
    assert world.service(fuse=FUSE).run("nightly").state is State.DONE
    assert fuses.lit == {}


def die_in_the_window(world: World, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose process dies when it has lit its fuse; its freeze has landed."""
    run = die_before_the_window(world, monkeypatch, fuse=FUSE)
    for guest in world.guests.values():
        guest.frozen, guest.believes_frozen = {"/", "/data"}, True
    return run


@pytest.mark.parametrize("burnt", [False, True])
def test_recovery_puts_it_out_after_its_thaw(
    world: World, guest: FakeAgent, fuses: Fuses, monkeypatch: pytest.MonkeyPatch, burnt: bool
) -> None:
    dead = die_in_the_window(world, monkeypatch)
    assert set(fuses.lit) == {dead.id}
    if burnt:
        fuses.burn()
    (run,) = world.service().recover()

    assert run.state is State.RECOVERED
    assert guest.frozen == set() and fuses.lit == {} and fuses.frozen_meanwhile == []
    assert of_fuse(run)[-1].figures["found"] is not burnt
    assert world.service().recover() == ()


def test_it_is_put_out_also_when_the_guard_has_thawed(
    world: World, guest: FakeAgent, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = die_in_the_window(world, monkeypatch)
    thaw = replace(dead.steps[0], action=Action.THAW, figures={"by": "guard", "thawed": 2})
    confirm = replace(thaw, action=Action.CONFIRM, figures={"by": "guard", "status": FreezeStatus.THAWED})
    world.guard.records[dead.id, "vm"] = [thaw, confirm]
    guest.frozen, guest.believes_frozen = set(), False
    (run,) = world.service().recover()

    assert run.state is State.RECOVERED and THAW not in guest.calls
    assert fuses.lit == {}
    assert told(run)[-1] == (Outcome.DONE, False)


def test_a_guest_that_is_stuck_keeps_it_until_a_thaw_by_hand(
    world: World, guest: FakeAgent, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.recovery._STUCK", 0.3)
    guest.faults[THAW].extend([faults.error("no")] * 1000)
    run = world.service(fuse=FUSE, thaw_timeout=0.3).run("nightly")
    assert run.state is State.STUCK and set(fuses.lit) == {run.id}
    (run,) = world.service().recover()
    assert run.state is State.STUCK and set(fuses.lit) == {run.id}

    guest.faults[THAW].clear()
    run = world.service().thaw("vm")
    assert run.state is State.RECOVERED and fuses.lit == {}
    assert told(run)[-1] == (Outcome.DONE, False)


def test_one_that_was_lit_unheard_is_put_out_by_recovery(
    world: World, guest: FakeAgent, fuses: Fuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process dies while it lights the fuse: the journal has the intent alone."""
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.transaction.light", lambda *_: killed())
        with pytest.raises(Killed):
            world.service(fuse=FUSE).run("nightly")
    (run,) = world.journal.open_runs()
    fuses.lit = {run.id: 60}
    world.die()
    (run,) = world.service().recover()
    assert run.state is State.RECOVERED and fuses.lit == {}
