"""The guard's record: what was written is read, what was spoilt is left out, and nobody thaws beside another."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.clock import Deadline
from orchestrator.guard import record
from orchestrator.guard.record import Record
from orchestrator.model import Action, FreezeStatus, Outcome, Step
from tests.fakes.clock import SteppedClock

AT = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
THAW = Step("vm", Action.THAW, Outcome.DONE, AT, 17.125, 3.5, {"thawed": 2})
CONFIRM = Step("vm", Action.CONFIRM, Outcome.DONE, AT, 17.5, 1.0, {"status": FreezeStatus.THAWED})
FAILED = Step("vm", Action.THAW, Outcome.FAILED, AT, 16.0, 10.0, {}, "no answer in time")
GOOD = json.loads(
    '{"action": "thaw", "outcome": "done", "at": "2026-03-29T01:30:00+00:00", "monotonic": 1.5, "duration_ms": 2.5,'
    ' "figures": {"thawed": 2}, "error": null}'
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty record."""
    path = record.path(tmp_path / "guard", "run", "vm")
    record.create(path)
    return path


def by_guard(step: Step) -> Step:
    return replace(step, figures={"by": "guard", **step.figures})


def test_what_is_written_is_read_as_the_guards(path: Path) -> None:
    with closing(Record(path)) as guard:
        guard.append([FAILED])
        guard.append([THAW, CONFIRM])
    with closing(Record(path)) as recovery:
        assert recovery.read("vm") == (by_guard(FAILED), by_guard(THAW), by_guard(CONFIRM))


def test_it_is_for_its_owner_alone(path: Path) -> None:
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_names_stay_in_the_folder(tmp_path: Path) -> None:
    assert record.path(tmp_path, "run", "../../etc/passwd").parent == tmp_path


def test_a_line_that_was_cut_off_costs_itself_only(path: Path) -> None:
    with closing(Record(path)) as guard:
        guard.append([FAILED])
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 20)
        guard.append([THAW])
        assert guard.read("vm") == (by_guard(THAW),)


@pytest.mark.parametrize(
    "change",
    [
        {"action": "freeze"},
        {"action": "cut"},
        {"outcome": "intent"},
        {"outcome": "fine"},
        {"figures": {"thawed": -1}},
        {"figures": {"thawed": True}},
        {"figures": {"thawed": "2"}},
        {"figures": {}},
        {"figures": []},
        {"figures": {"thawed": 2, "status": "melting"}},
        {"monotonic": float("nan")},
        {"monotonic": "soon"},
        {"duration_ms": float("inf")},
        {"at": 0},
        {"at": "yesterday"},
        {"error": "\ud800"},
    ],
    ids=str,
)
def test_no_step_is_read_that_a_guard_cannot_have_taken(path: Path, change: dict[str, Any]) -> None:
    path.write_text("\n".join(json.dumps(line) for line in (GOOD | change, GOOD)))
    with closing(Record(path)) as found:
        assert len(found.read("vm")) == 1


def test_nothing_else_comes_with_a_step(path: Path) -> None:
    path.write_text(json.dumps(GOOD | {"machine": "other", "figures": {"thawed": 2, "sent": False, "by": "me"}}))
    with closing(Record(path)) as found:
        (step,) = found.read("vm")
    assert (step.machine, step.figures) == ("vm", {"by": "guard", "thawed": 2})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300) | st.lists(st.from_type(dict[str, int]).map(json.dumps)).map("\n".join).map(str.encode))
def test_whatever_is_in_it_is_read_without_a_fall(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with closing(Record(path)) as found:
        found.read("vm")


def test_one_thaws_at_a_time(path: Path) -> None:
    clock = SteppedClock()
    with closing(Record(path)) as guard, closing(Record(path)) as recovery:
        assert guard.lock(Deadline.after(clock, 0))
        assert not recovery.lock(Deadline.after(clock, 5))
        assert 5 <= clock.monotonic() < 6
        guard.unlock()
        assert recovery.lock(Deadline.after(clock, 0))


def test_the_lock_ends_with_its_holder(path: Path) -> None:
    with closing(Record(path)) as recovery:
        with closing(Record(path)) as guard:
            assert guard.lock(Deadline.after(SteppedClock(), 0))
        assert recovery.lock(Deadline.after(SteppedClock(), 0))


def test_a_guard_is_needed_until_its_record_is_removed_and_not_when_that_was_moved(path: Path) -> None:
    with closing(Record(path)) as guard:
        moved = path.rename(path.with_name("moved"))
        assert guard.needed
        moved.unlink()
        assert not guard.needed


def test_a_guard_that_was_dismissed_is_not_needed_and_its_steps_stay(path: Path) -> None:
    with closing(Record(path)) as guard, closing(Record(path)) as recovery:
        guard.append([THAW])
        recovery.dismiss()
        assert not guard.needed
        assert len(recovery.read("vm")) == 1


def test_a_full_disk_is_no_reason_to_fall(path: Path) -> None:
    full = Path("/dev/full")
    with closing(Record(full)) as guard:
        guard.append([THAW])
