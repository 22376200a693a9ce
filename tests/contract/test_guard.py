"""What every Guard promises to the heart: the one in memory, and the real process."""

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import NoGuard
from orchestrator.guard import record
from orchestrator.guard.leases import ProcessGuard
from orchestrator.guard.record import Record
from orchestrator.model import Action, Machine, Outcome, Step
from orchestrator.ports import Guard
from tests.fakes.guard import MemoryGuard

VM, OTHER = Machine("vm", agent="/nowhere/vm.sock"), Machine("other", agent="/nowhere/other.sock")
THAWED = Step(
    *("vm", Action.THAW, Outcome.DONE, datetime(2026, 3, 29, 1, 30, tzinfo=UTC), 17.125, 3.5),
    figures={"by": "guard", "thawed": 2},
)


class Subject(ABC):
    """A guard, and a way to do what its process would do."""

    guard: Guard

    @abstractmethod
    def acts(self, run_id: str, machine: str, step: Step) -> None:
        """Let it do something to a machine that it is armed for."""

    @abstractmethod
    def needed(self, run_id: str, machine: str) -> bool:
        """Whether it would thaw the machine if its orchestrator ended now."""

    @abstractmethod
    def left(self) -> int:
        """How many machines it is armed for, or has left a record of."""

    @abstractmethod
    def break_down(self) -> None:
        """Let there be no guard any more."""


class InMemory(Subject):
    def __init__(self) -> None:
        self.guard = self._guard = MemoryGuard()

    def acts(self, run_id: str, machine: str, step: Step) -> None:
        self._guard.records[run_id, machine].append(step)

    def needed(self, run_id: str, machine: str) -> bool:
        return (run_id, machine) in self._guard.armed

    def left(self) -> int:
        return len(self._guard.armed.keys() | self._guard.records.keys())

    def break_down(self) -> None:
        self._guard.refuses = "there is no guard: broken"


class RealProcess(Subject):
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broken: list[str] = []
        self.guard = self.process = ProcessGuard(folder, SystemClock())

    def acts(self, run_id: str, machine: str, step: Step) -> None:
        with closing(Record(record.path(self._folder, run_id, machine))) as found:
            found.append([step])

    def needed(self, run_id: str, machine: str) -> bool:
        with closing(Record(record.path(self._folder, run_id, machine))) as found:
            return found.needed

    def left(self) -> int:
        return len(list(self._folder.glob("*")))

    def break_down(self) -> None:
        if self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.close()
        self.guard = self.process = ProcessGuard(
            self._folder, SystemClock(), lambda: [[sys.executable, "-c", "raise SystemExit('broken')"]] * 2
        )


@pytest.fixture(params=["memory", "process"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    """Each guard in turn."""
    if request.param == "memory":
        yield InMemory()
        return
    real = RealProcess(tmp_path / "guard")
    yield real
    for path in (tmp_path / "guard").glob("*"):
        path.unlink()  # or it would try for ever to reach what a test has left armed
    real.process.close()


def test_a_lease_that_is_released_leaves_nothing(subject: Subject) -> None:
    lease = subject.guard.arm("run", VM)
    assert subject.left() == 1
    lease.within(5)
    lease.within(5, answered=True)
    lease.within(None, answered=True)
    lease.release()
    assert subject.left() == 0
    with subject.guard.record("run", "vm") as left:
        assert left.steps == ()


def test_one_guard_serves_several_machines_and_runs(subject: Subject) -> None:
    leases = [subject.guard.arm(run, machine) for run, machine in (("run", VM), ("run", OTHER), ("next", VM))]
    assert subject.left() == 3
    for lease in leases:
        lease.release()
    assert subject.left() == 0


def test_a_machine_can_be_armed_again(subject: Subject) -> None:
    subject.guard.arm("run", VM).release()
    lease = subject.guard.arm("run", VM)
    assert subject.left() == 1
    lease.release()


def test_what_it_did_is_left_to_recovery_until_that_removes_it(subject: Subject) -> None:
    subject.guard.arm("run", VM)
    subject.acts("run", "vm", THAWED)
    for _ in range(2):
        with subject.guard.record("run", "vm") as left:
            assert left.steps == (THAWED,)
    with subject.guard.record("run", "vm") as left:
        left.remove()
    assert subject.left() == 0
    with subject.guard.record("run", "vm") as left:
        assert left.steps == ()


def test_a_guard_that_was_dismissed_does_no_more_and_what_it_did_stays(subject: Subject) -> None:
    subject.guard.arm("run", VM)
    subject.acts("run", "vm", THAWED)
    assert subject.needed("run", "vm")
    with subject.guard.record("run", "vm") as left:
        left.dismiss()
    assert not subject.needed("run", "vm")
    with subject.guard.record("run", "vm") as left:
        assert left.steps == (THAWED,)


def test_what_was_never_armed_has_an_empty_record(subject: Subject) -> None:
    with subject.guard.record("run", "vm") as left:
        assert left.steps == ()
        left.remove()
    assert subject.left() == 0


def test_without_a_guard_nothing_is_armed_and_nothing_is_left(subject: Subject) -> None:
    subject.break_down()
    with pytest.raises(NoGuard, match="there is no guard: broken"):
        subject.guard.arm("run", VM)
    assert subject.left() == 0


def test_one_that_was_prepared_is_armed_as_one_that_was_not(subject: Subject) -> None:
    subject.guard.prepare([VM])
    subject.guard.prepare([VM])
    lease = subject.guard.arm("run", VM)
    assert subject.left() == 1
    lease.release()
    subject.guard.prepare([VM])
    assert subject.left() == 0


def test_to_prepare_one_that_cannot_be_started_raises_nothing(subject: Subject) -> None:
    subject.break_down()
    subject.guard.prepare([VM])
    with pytest.raises(NoGuard, match="there is no guard: broken"):
        subject.guard.arm("run", VM)


def test_a_lease_of_a_guard_that_is_gone_is_silent(subject: Subject) -> None:
    lease = subject.guard.arm("run", VM)
    subject.break_down()
    lease.within(5)
    lease.release()
    assert subject.left() == 0
