"""What goes into the journal comes out of it the same, whatever a hostile guest made of it, on each engine."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import JournalError
from orchestrator.journal import SqlJournal
from orchestrator.model import Action, Consistency, Machine, Outcome, State, Step, Target
from tests.journals import NOW, a_run, a_step

#: Any character, with the ones that databases stumble over among the likely ones.
TEXT = st.text(st.sampled_from("\0\\\udcff'\"%u0\u2028") | st.characters(exclude_categories=()))
#: A surrogate pair is one character in JSON, so that only lone surrogates are values of their own.
JSON_TEXT = st.text(st.sampled_from("\0\\\udcff'\"%u0\u2028") | st.characters(exclude_categories=["Cs"]))
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
FIGURES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | JSON_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_TEXT, inner, max_size=3),
    max_leaves=10,
)
OBJECTS = st.dictionaries(JSON_TEXT, FIGURES, max_size=3)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5.5))])
INSTANTS = st.timedeltas(timedelta(0), timedelta(days=99_999)).flatmap(
    lambda since: ZONES.map(lambda zone: (datetime(1971, 1, 1, tzinfo=UTC) + since).astimezone(zone))
)

unique = map("r{}".format, itertools.count())
many = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(
    machine=TEXT.filter(bool),
    at=INSTANTS,
    error=st.none() | TEXT,
    figures=OBJECTS,
    monotonic=FLOATS,
    duration=st.none() | FLOATS,
    window=st.none() | FLOATS,
    snapshot=st.none() | OBJECTS,
)
def test_values_come_back_as_they_were(
    journal: SqlJournal,
    machine: str,
    at: datetime,
    error: str | None,
    figures: dict[str, Any],
    monotonic: float,
    duration: float | None,
    window: float | None,
    snapshot: dict[str, Any] | None,
) -> None:
    step = Step(machine, Action.FREEZE, Outcome.UNKNOWN, at, monotonic, duration, figures, error)
    run = replace(a_run(next(unique), machine, job=machine, at=at), steps=(step,))
    journal.open_run(run)
    target = Target(run.targets[0].machine, State.FAILED, Consistency.CRASH, window, window, snapshot, error)
    journal.move(run, target, [step])
    found = journal.run(run.id)
    assert found.targets == (target,)
    assert found.steps == (step, step)
    assert (found.job, found.started_at, found.error) == (run.job, at, error or None)
    assert found.started_at.tzinfo is UTC
    assert found.steps[0].at.tzinfo is UTC
    assert found.id in [other.id for other in journal.history(1000, job=machine, machine=machine)]


def test_huge_values_are_kept(journal: SqlJournal) -> None:
    step = replace(a_step("db1"), figures={"reply": "\0é" * 1_000_000}, error="x" * 3_000_000)
    run = journal.open_run(replace(a_run("r1", "db1"), steps=(step,)))
    assert run.steps == (step,)


def test_a_mapping_need_not_be_a_dictionary(journal: SqlJournal) -> None:
    step = replace(a_step("db1"), figures=MappingProxyType({"inner": MappingProxyType({"n": 1})}))
    assert journal.open_run(replace(a_run("r1", "db1"), steps=(step,))).steps[0].figures == {"inner": {"n": 1}}


def test_a_value_that_is_not_json_is_a_mistake_of_the_caller_and_writes_nothing(journal: SqlJournal) -> None:
    run = journal.open_run(a_run("r1", "db1"))
    with pytest.raises(JournalError, match="not iterable"):
        journal.record(run, [a_step("db1"), replace(a_step("db1"), figures={"path": object()})])
    assert journal.run("r1") == run


def test_a_run_of_many_machines_keeps_their_order(journal: SqlJournal) -> None:
    machines = [f"m{number * 7919 % 2003}" for number in range(2000)]
    run = journal.open_run(a_run("r1", *machines))
    assert [target.machine.name for target in run.targets] == machines
    again = journal.open_run(replace(a_run("r2", *machines, "free"), targets=(*run.targets, Target(Machine("free")))))
    assert [target.state for target in again.targets] == [State.REFUSED] * 2000 + [State.PENDING]
    assert again.started_at == NOW
