"""The guard as a process, on fake guests: whatever becomes of its orchestrator, they are thawed, and it says so."""

import gc
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import NoGuard
from orchestrator.guard.leases import ProcessGuard
from orchestrator.guard.process import Process
from orchestrator.guard.watch import SLACK
from orchestrator.model import Action, Machine, Outcome, Step
from tests.fakes import faults
from tests.fakes.agent import FakeAgent

pytest_plugins = ["tests.fakes.systemd"]

FREEZE, THAW = "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


class Orchestrator:
    """A process in its window, of whose guard the process id is known."""

    def __init__(self, folder: Path, hold: float, *guests: FakeAgent) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.orchestrator", folder, str(hold), *(guest.path for guest in guests)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.guard = self._listen()

    def says(self, line: str) -> int:
        """Let it do something, and return the process id of the guard that it has then."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._listen()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _listen(self) -> int:
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[list[FakeAgent]]:
    """Two guests."""
    with ExitStack() as stack:
        yield [stack.enter_context(FakeAgent(tmp_path / f"{name}.sock")) for name in ("a", "b")]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Where the guard's records are."""
    return tmp_path / "guard"


@contextmanager
def window(folder: Path, hold: float, *guests: FakeAgent) -> Iterator[Orchestrator]:
    """An orchestrator that has frozen the guests. Nothing is left of it and its guard afterwards."""
    orchestrator = Orchestrator(folder, hold, *guests)
    guard = os.pidfd_open(orchestrator.guard)
    assert all(guest.frozen for guest in guests)
    try:
        yield orchestrator
    finally:
        orchestrator.kill()
        for stream in (orchestrator.process.stdin, orchestrator.process.stdout):
            assert stream is not None
            stream.close()
        for path in folder.glob("*"):
            path.unlink()
        ended(guard)
        os.close(guard)


def ended(pidfd: int) -> None:
    """Wait until a process has ended."""
    ready, _, _ = select.select([pidfd], [], [], 30)
    assert ready, "it did not end"


def wait_ended(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended(pidfd)
    os.close(pidfd)


def thawed(guest: FakeAgent) -> bool:
    return not guest.frozen and not guest.believes_frozen


def steps(folder: Path, guest: FakeAgent, run: str = "run") -> tuple[Step, ...]:
    with ProcessGuard(folder, SystemClock()).record(run, guest.path.stem) as left:
        return left.steps


def told(steps: tuple[Step, ...]) -> list[tuple[Action, Outcome, int | None]]:
    return [(step.action, step.outcome, step.figures.get("thawed")) for step in steps]


def by_sigkill(orchestrator: Orchestrator) -> None:
    orchestrator.process.kill()


def by_its_group(orchestrator: Orchestrator) -> None:
    os.killpg(orchestrator.process.pid, signal.SIGKILL)


def by_its_own_end(orchestrator: Orchestrator) -> None:
    assert orchestrator.process.stdin is not None
    orchestrator.process.stdin.close()


@pytest.mark.parametrize("end", [by_sigkill, by_its_group, by_its_own_end])
def test_the_end_of_the_orchestrator_thaws_all_that_it_has_frozen(
    records: Path, guests: list[FakeAgent], end: Callable[[Orchestrator], None]
) -> None:
    with window(records, 60, *guests) as orchestrator:
        end(orchestrator)
        for guest in guests:
            guest.wait_for(thawed)
        wait_ended(orchestrator.guard)
        for guest in guests:
            assert guest.calls.count(THAW) == 1
            assert told(steps(records, guest)) == [
                (Action.THAW, Outcome.DONE, 2),
                (Action.CONFIRM, Outcome.DONE, None),
            ]
            assert {step.figures["by"] for step in steps(records, guest)} == {"guard"}


def test_nobody_can_ask_it_to_end(records: Path, guests: list[FakeAgent]) -> None:
    """Neither a signal, nor its parent's group, nor the end of a terminal: it has a session of its own."""
    with window(records, 60, guests[0]) as orchestrator:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(orchestrator.guard, number)
        assert os.getsid(orchestrator.guard) == orchestrator.guard != os.getsid(orchestrator.process.pid)
        orchestrator.kill()
        guests[0].wait_for(thawed)


def test_it_shares_nothing_with_its_orchestrator_but_the_socket(records: Path, guests: list[FakeAgent]) -> None:
    with window(records, 60, guests[0]) as orchestrator:
        of_guard = Path(f"/proc/{orchestrator.guard}")
        assert (of_guard / "cwd").readlink() == Path("/")
        assert {(of_guard / "fd" / str(stream)).readlink() for stream in range(3)} == {Path("/dev/null")}
        links = [str(entry.readlink()) for entry in (of_guard / "fd").iterdir()]
        assert sum(link.startswith("socket:") for link in links) == 1
        modules = {path.split()[-1] for path in (of_guard / "maps").read_text().splitlines()}
        assert not any(name in path for path in modules for name in ("sqlite", "psycopg", "pydantic", "crypto"))


def test_it_ends_with_its_orchestrator_when_there_is_nothing_to_thaw(records: Path, guests: list[FakeAgent]) -> None:
    with window(records, 60, *guests) as orchestrator:
        assert orchestrator.says("thaw") == orchestrator.guard
        assert list(records.iterdir()) == []
        orchestrator.kill()
        wait_ended(orchestrator.guard)
        assert [guest.calls.count(THAW) for guest in guests] == [1, 1]


def test_an_orchestrator_that_hangs_in_the_hold_is_ended_and_its_guests_are_thawed(
    records: Path, guests: list[FakeAgent]
) -> None:
    """One of two machines is overdue: the other one's agent is free only when the process has gone, too."""
    with window(records, 0.5, *guests) as orchestrator:
        began = time.monotonic()
        orchestrator.process.send_signal(signal.SIGSTOP)
        for guest in guests:
            guest.wait_for(thawed)
        assert time.monotonic() - began >= 0.5 + SLACK - 0.2, "it was not given its time"
        assert orchestrator.process.wait(30) == -signal.SIGKILL
        wait_ended(orchestrator.guard)
        assert [told(steps(records, guest))[0] for guest in guests] == [(Action.THAW, Outcome.DONE, 2)] * 2


def test_it_goes_on_until_the_thaw_is_confirmed(records: Path, guests: list[FakeAgent]) -> None:
    guest = guests[0]
    with window(records, 60, guest) as orchestrator:
        guest.faults[THAW].extend([faults.error("no")] * 9)
        orchestrator.kill()
        guest.wait_for(thawed, 60)
        wait_ended(orchestrator.guard)
        assert guest.calls.count(THAW) == 10
        assert told(steps(records, guest))[-2:] == [
            (Action.THAW, Outcome.DONE, 2),
            (Action.CONFIRM, Outcome.DONE, None),
        ]


def test_it_leaves_the_agent_to_whoever_else_has_settled_the_machine(records: Path, guests: list[FakeAgent]) -> None:
    guest = guests[0]
    with window(records, 60, guest) as orchestrator:
        with ProcessGuard(records, SystemClock()).record("run", "a") as left:
            orchestrator.kill()
            left.remove()
        wait_ended(orchestrator.guard)
        assert THAW not in guest.calls


def test_a_guard_that_has_died_is_started_again_before_the_next_freeze(records: Path, guests: list[FakeAgent]) -> None:
    """And it watches over what the last one did: the machines that are frozen still."""
    with window(records, 60, *guests) as orchestrator:
        os.kill(orchestrator.guard, signal.SIGKILL)
        wait_ended(orchestrator.guard)
        guard = orchestrator.says("arm")
        assert guard != orchestrator.guard
        orchestrator.kill()
        wait_ended(guard)
        for guest in guests:
            assert thawed(guest)
            assert {told(steps(records, guest, run))[-1][:2] for run in ("run", "next")} == {
                (Action.CONFIRM, Outcome.DONE)
            }


def test_a_guard_that_hangs_is_replaced(
    records: Path, guests: list[FakeAgent], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.guard.leases._PATIENCE", 2.0)
    machine = Machine("a", agent=str(guests[0].path))
    with closing(ProcessGuard(records, SystemClock())) as guard:
        guard.arm("run", machine).release()
        first = guard.pid
        assert first is not None
        os.kill(first, signal.SIGSTOP)
        guard.arm("next", machine).release()
        assert guard.pid != first
        wait_ended(first)


def test_where_its_records_cannot_be_kept_nothing_is_armed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with closing(ProcessGuard(tmp_path / "file" / "guard", SystemClock())) as guard:
        with pytest.raises(NoGuard, match=r"records cannot be kept in .*file/guard: Not a directory"):
            guard.arm("run", Machine("a", agent="/nowhere"))
        assert guard.pid is None


def test_under_systemd_it_comes_through_systemd_run(systemd_run: Path, records: Path, tmp_path: Path) -> None:
    """A stand-in for it: there is no systemd in the lab."""
    with closing(ProcessGuard(records, SystemClock())) as guard:
        guard.arm("run", Machine("a", agent="/nowhere")).release()
        assert (tmp_path / "asked").read_text().startswith("--scope --quiet --collect -- ")


def test_where_systemd_run_is_refused_it_is_started_plainly(systemd_run: Path, records: Path) -> None:
    systemd_run.write_text("#!/bin/sh\necho 'Failed to start transient scope unit: Access denied' >&2\nexit 1\n")
    with closing(ProcessGuard(records, SystemClock())) as guard:
        guard.arm("run", Machine("a", agent="/nowhere")).release()
        assert Path(f"/proc/{guard.pid}/cmdline").read_text().split("\0")[-3:-1] == ["-m", "orchestrator.guard_main"]


def test_one_that_is_left_at_work_is_waited_for_when_it_has_ended() -> None:
    """Dropped unwaited, it would stay as a zombie, and Python warn of it: warnings are errors here."""
    busy = Process([sys.executable, "-c", "import signal; signal.pause()"])
    number = busy.pid
    busy.close()
    del busy
    gc.collect()
    os.kill(number, signal.SIGKILL)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    Process([sys.executable, "-c", ""]).close()
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG)
