"""Work that is not abandoned, within one process."""

import signal
import threading

import pytest

from orchestrator.cli.interrupt import STOPPING, ending, interruptible
from orchestrator.clock import Stop
from orchestrator.errors import QuiesceError


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_work_that_no_guest_waits_for_and_lets_it_clean_up(number: signal.Signals) -> None:
    before, cleaned_up = signal.getsignal(number), False

    with pytest.raises(QuiesceError, match="ended by its user"), ending():
        try:
            signal.raise_signal(number)
        finally:
            cleaned_up = True

    assert cleaned_up
    assert signal.getsignal(number) is before
