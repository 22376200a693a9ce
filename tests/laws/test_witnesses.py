"""Who looks on is told of everything that the journal has taken, and never between freeze and thaw."""

import io
import logging
from collections.abc import Iterator, Sequence

import pytest
import structlog

from orchestrator import logs
from orchestrator.model import Action, Outcome, Run, State, Step, Target
from orchestrator.witnessed import WitnessedJournal
from tests.fakes import faults
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World


class Onlooker:
    """A witness that looks at the guests whenever it is told something."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.steps: list[Step] = []
        self.moves: list[State] = []
        self.saw_frozen = False

    def __call__(self, run: Run, target: Target | None, steps: Sequence[Step]) -> None:
        self.steps += steps
        self.moves += [] if target is None else [target.state]
        self.saw_frozen |= any(guest.frozen for guest in self._world.guests.values())


@pytest.fixture
def onlooker(world: World) -> Onlooker:
    onlooker = Onlooker(world)
    world.journal = WitnessedJournal(world.journal, [onlooker])
    return onlooker


def test_it_is_told_each_step_once_and_never_while_a_guest_is_frozen(
    world: World, guest: FakeAgent, onlooker: Onlooker
) -> None:
    run = world.service().run("nightly")
    assert onlooker.steps == list(run.steps)
    assert [step.action for step in onlooker.steps].count(Action.FREEZE) == 2
    assert onlooker.moves == [State.RUNNING, State.DONE]
    assert not onlooker.saw_frozen


def test_it_is_told_of_a_machine_that_was_turned_away(world: World, guest: FakeAgent, onlooker: Onlooker) -> None:
    guest.frozen |= set(guest.mounts)
    guest.believes_frozen = True
    assert world.service().run("nightly").state is State.REFUSED
    assert onlooker.moves == [State.REFUSED]


def test_its_defects_end_no_run(world: World, guest: FakeAgent) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a defect")

    world.journal = WitnessedJournal(world.journal, [broken])
    assert world.service().run("nightly").state is State.DONE


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the service logs."""
    before = logging.getLogger().handlers[:]
    stream = io.StringIO()
    logs.to(stream)
    yield stream
    structlog.reset_defaults()
    logging.getLogger().handlers[:] = before
    logging.getLogger("apprise").disabled = False
    logging.getLogger("apscheduler").setLevel(logging.NOTSET)


def test_each_line_of_the_log_names_the_run_and_the_machine(world: World, guest: FakeAgent, log: io.StringIO) -> None:
    guest.faults["guest-fsfreeze-freeze"] += [faults.error("no\nlevel='critical' event='forged'")]
    world.journal = WitnessedJournal(world.journal, [logs.witness])
    run = world.service().run("nightly")
    lines = log.getvalue().splitlines()
    ended = [step for step in run.steps if step.outcome is not Outcome.INTENT]
    assert len(lines) == len(ended) + 1
    assert all(f"run='{run.id}' job='nightly' machine='vm'" in line for line in lines)
    assert "state='failed'" in lines[-1]
    assert "level='warning'" in lines[-1]


def test_what_libraries_log_looks_alike_and_addresses_of_notices_are_not_logged(log: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").warning("missed by %s", "a minute")
    logging.getLogger("apscheduler.scheduler").warning("skipped: maximum number of running instances reached")
    logging.getLogger("apprise").error("json://user:secret@host")
    logging.getLogger("urllib3").info("chatter")
    [line] = log.getvalue().splitlines()
    assert "level='warning' event='missed by a minute'" in line
