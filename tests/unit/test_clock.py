"""Waiting, and work that cannot be cancelled."""

import threading

import pytest

from orchestrator.clock import Deadline, Stop, SystemClock, Task
from tests.fakes.clock import SteppedClock


def test_a_deadline_never_asks_for_a_negative_wait() -> None:
    clock = SteppedClock()
    deadline = Deadline.after(clock, 2)
    assert (deadline.remaining(), deadline.passed) == (2, False)
    assert deadline.within(1).remaining() == 1
    assert deadline.within(5) == deadline
    clock.step(3)
    assert (deadline.remaining(), deadline.passed) == (0, True)


def test_a_task_is_left_behind_at_the_deadline_and_ends_by_itself() -> None:
    clock, let_go = SystemClock(), threading.Event()
    task = Task(clock, "slow", let_go.wait)
    assert not task.wait(Deadline.after(clock, 0.01))
    let_go.set()
    task.join()
    assert task.result() is True


def test_a_task_raises_in_the_thread_that_asks() -> None:
    clock = SystemClock()

    def fail() -> None:
        raise KeyError("x")

    task = Task(clock, "failing", fail)
    task.join()
    with pytest.raises(KeyError):
        task.result()


def test_a_stop_reaches_those_who_listen_and_those_who_come_later() -> None:
    stop, heard = Stop(), []
    with stop.calling(lambda: heard.append("listening")):
        pass
    with stop.calling(lambda: heard.append("present")):
        stop.request()
    with stop.calling(lambda: heard.append("late")):
        pass
    assert heard == ["present", "late"]


def test_a_stop_calls_nobody_who_has_left() -> None:
    """What a listener uses may be gone then: a file that it writes to may be another one."""
    stop, called, events = Stop(), threading.Event(), list[str]()

    def leave() -> None:
        with stop.calling(lambda: events.append("called")):
            entered.set()
            called.wait(30)
        events.append("left")
        gone.set()

    entered, gone = threading.Event(), threading.Event()

    def first() -> None:
        called.set()
        gone.wait(0.2)  # as long as it takes the other one to leave, if it can

    with stop.calling(first):
        leaving = Task(SystemClock(), "leaving", leave)
        assert entered.wait(30)
        stop.request()
    leaving.join()
    assert events == ["called", "left"]
