"""When the guard is needed: the orchestrator has ended, or what it does takes longer than it said."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import SystemClock
from orchestrator.guard import record
from orchestrator.guard.watch import SLACK, Watch, peer, until_needed
from orchestrator.guard.wire import Arm, Armed, Expect, Release, Within, decode, encode
from orchestrator.model import Machine
from orchestrator.ports import Agent
from tests.fakes.clock import SteppedClock

A, B = ("run", "a"), ("run", "b")


def nobody(machine: Machine) -> Agent:
    """An agent that is never asked."""
    return GuestAgent(unix_channel("/nowhere"))


def arm(folder: Path, machine: str) -> Arm:
    path = record.path(folder, "run", machine)
    record.create(path)
    return Arm("run", Machine(machine, agent="/nowhere"), str(path))


def test_what_is_armed_is_answered_and_what_is_released_is_forgotten(tmp_path: Path) -> None:
    watch = Watch(SteppedClock(), nobody)
    assert watch.hear(arm(tmp_path, "a")) == Armed(A, None)
    assert watch.hear(arm(tmp_path, "b")) == Armed(B, None)
    watch.hear(Release(A))
    assert list(watch.charges) == [B]


def test_a_machine_that_it_cannot_do_anything_for_is_not_armed(tmp_path: Path) -> None:
    def missing(machine: Machine) -> Agent:
        raise ModuleNotFoundError("No module named 'libvirt'")

    watch = Watch(SteppedClock(), missing)
    assert watch.hear(arm(tmp_path, "a")) == Armed(A, "ModuleNotFoundError: No module named 'libvirt'")
    assert watch.charges == {}


def test_what_is_expected_is_loaded_and_not_yet_guarded(tmp_path: Path) -> None:
    reached = []

    def agent(machine: Machine) -> Agent:
        reached.append(machine.name)
        return nobody(machine)

    watch = Watch(SteppedClock(), agent)
    assert watch.hear(Expect(Machine("a", agent="/nowhere"))) is None
    assert reached == ["a"]
    assert watch.charges == {}


def test_what_is_expected_in_vain_is_told_to_whoever_arms_it(tmp_path: Path) -> None:
    def missing(machine: Machine) -> Agent:
        raise ModuleNotFoundError("No module named 'libvirt'")

    watch = Watch(SteppedClock(), missing)
    assert watch.hear(Expect(Machine("a", agent="/nowhere"))) is None
    assert watch.hear(arm(tmp_path, "a")) == Armed(A, "ModuleNotFoundError: No module named 'libvirt'")


def test_it_waits_for_the_earliest_end_and_a_little_longer(tmp_path: Path) -> None:
    clock = SteppedClock()
    watch = Watch(clock, nobody)
    assert watch.patience() is None
    for machine in ("a", "b"):
        watch.hear(arm(tmp_path, machine))
    assert watch.patience() is None, "nothing was said yet of what is done to them"
    watch.hear(Within(A, 30.0, answered=False))
    watch.hear(Within(B, 5.0, answered=True))
    assert watch.patience() == 5.0 + SLACK
    clock.step(5.0 + SLACK)
    assert watch.patience() == 0.0
    watch.hear(Within(B, None, answered=True))
    assert watch.patience() == 25.0
    watch.hear(Release(A))
    assert watch.patience() is None


def test_what_is_said_of_a_machine_that_is_not_armed_is_nothing(tmp_path: Path) -> None:
    watch = Watch(SteppedClock(), nobody)
    watch.hear(Within(A, 0.0, answered=False))
    watch.hear(Release(A))
    assert (watch.charges, watch.patience()) == ({}, None)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that may be fenced."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_all_that_was_said_counts_before_an_orchestrator_is_taken_for_hung(
    tmp_path: Path, victim: subprocess.Popen[bytes]
) -> None:
    """The release lies in the socket, behind an end that has long passed, when the guard looks."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        for message in (arm(tmp_path, "a"), Within(A, 0.0, answered=False), Release(A), arm(tmp_path, "b")):
            ours.send(encode(message))
        ours.shutdown(socket.SHUT_WR)
        pidfd = os.pidfd_open(victim.pid)
        charges = until_needed(Watch(SystemClock(), nobody), theirs, pidfd)
        os.close(pidfd)
        assert [charge.machine.name for charge in charges] == ["b"]
        assert victim.poll() is None
        assert [decode(ours.recv(1024)) for _ in range(2)] == [Armed(A, None), Armed(B, None)]
    ours.close()


def test_an_orchestrator_that_hangs_is_ended(tmp_path: Path, victim: subprocess.Popen[bytes]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ours), theirs:
        for message in (arm(tmp_path, "a"), arm(tmp_path, "b"), Within(A, 0.0, answered=True)):
            ours.send(encode(message))
        pidfd = os.pidfd_open(victim.pid)
        charges = until_needed(Watch(SystemClock(), nobody), theirs, pidfd)
        os.close(pidfd)
    assert [(charge.machine.name, charge.answered) for charge in charges] == [("a", True), ("b", False)]
    assert victim.wait(10) == -signal.SIGKILL


def test_a_message_of_another_version_is_passed_over(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with closing(ours), theirs:
        for packet in (b'{"is": "Greeting"}', b"\xff", encode(arm(tmp_path, "a"))):
            ours.send(packet)
        ours.shutdown(socket.SHUT_WR)
        assert len(until_needed(Watch(SystemClock(), nobody), theirs, -1)) == 1


def test_it_knows_whom_it_watches() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pidfd = peer(theirs)
        assert f"Pid:\t{os.getpid()}\n" in Path(f"/proc/self/fdinfo/{pidfd}").read_text()
        os.close(pidfd)
