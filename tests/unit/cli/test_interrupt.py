"""Work that is not abandoned, within one process."""

import signal
import threading

import pytest

from orchestrator.cli.interrupt import STOPPING, interruptible
from orchestrator.clock import Stop


def test_the_work_s_value_is_returned() -> None:
    assert interruptible(lambda stop: 7, print) == 7


def test_the_work_s_error_is_raised() -> None:
    def work(stop: Stop) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        interruptible(work, print)


def test_a_signal_stops_the_work_and_nothing_of_it_is_left_behind() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP, signal.SIGTTOU)
    before = [signal.getsignal(number) for number in numbers]
    notes: list[str] = []

    def work(stop: Stop) -> bool:
        asked = threading.Event()
        with stop.calling(asked.set):
            signal.raise_signal(signal.SIGTERM)
            return asked.wait(timeout=60)

    assert interruptible(work, notes.append)
    assert notes == [STOPPING]
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.set_wakeup_fd(-1) == -1
