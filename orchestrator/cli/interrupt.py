"""Signals. While guests may be frozen, a wish to stop is passed on, and the work is never abandoned.

The work runs on a thread of its own. The main thread only reads from a pipe into which Python's low-level handler
writes each signal (`signal.set_wakeup_fd`), so that nothing is done inside a handler and nothing is interrupted.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from orchestrator.clock import Bell, Stop, SystemClock, Task
from orchestrator.errors import QuiesceError

T = TypeVar("T")

STOPPING = "quiesce: stopping; a guest that is frozen is thawed first"
STILL_THAWING = "quiesce: still at it; a guest must not stay frozen"

#: Each asks to stop. SIGHUP comes when the terminal is closed.
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Each would halt this process with the guest frozen: Ctrl-Z, and output of a background job under `stty tostop`.
_HALTING = (signal.SIGTSTP, signal.SIGTTOU)
#: In the pipe: the work has ended. No signal has this number.
_ENDED = 0


def interruptible(work: Callable[[Stop], T], note: Callable[[str], None], hangup: Bell | None = None) -> T:
    """Do `work` to its end and return what it returns, or raise what it raises.

    The first stopping signal requests the `Stop` that `work` was given; each further one only says, through
    `note`, that the work still goes on. With `hangup`, SIGHUP stops nothing and rings that. To be called from the main
    thread.
    """
    stop, ended = Stop(), threading.Event()
    with _signals() as (reader, writer):

        def work_and_wake() -> T:
            try:
                return work(stop)
            finally:
                ended.set()
                with suppress(BlockingIOError):  # the pipe is full, so that its reader wakes anyway
                    os.write(writer, bytes([_ENDED]))

        task = Task(SystemClock(), "command", work_and_wake)
        try:
            while not ended.is_set():
                for number in os.read(reader, 4096):
                    if number == signal.SIGHUP and hangup is not None:
                        hangup.ring()
                    elif number in _STOPPING:
                        _pass_on(stop, note)
        finally:
            task.join()
    return task.result()


@contextmanager
def ending() -> Iterator[None]:
    """Within the `with`, each signal that asks to stop ends the work where it is: no guest waits for anything.

    What the work cleans up when it fails is cleaned up. Raises QuiesceError then.
    """
    before = {number: signal.getsignal(number) for number in _STOPPING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise QuiesceError("ended by its user") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pass_on(stop: Stop, note: Callable[[str], None]) -> None:
    if stop.requested:
        note(STILL_THAWING)
    else:
        stop.request()
        note(STOPPING)


@contextmanager
def _signals() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe that receives the number of each signal. A signal that was ignored stays ignored."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    heard = [number for number in _STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: None) for number in heard}
    before |= {number: signal.signal(number, signal.SIG_IGN) for number in _HALTING}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader, writer
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
