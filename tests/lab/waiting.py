"""Waiting for a condition with a deadline: the only place in the lab that sleeps."""

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

POLL_SECONDS = 0.02
#: Seconds for what is certain to happen unless something hangs, however busy the machine is.
PATIENCE = 60.0


class LabError(Exception):
    """The lab itself failed: a guest did not boot, a tool is missing, a command in the guest ended badly."""


class LabTimeout(LabError):
    """What was waited for did not happen before its deadline."""


def wait_for(condition: Callable[[], Result | None], timeout: float, what: str, poll: float = POLL_SECONDS) -> Result:
    """Call `condition` until its result is true and return that; `timeout` and `poll` in seconds.

    Raise LabTimeout, naming `what`, past the deadline. The condition is always tried at least once.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise LabTimeout(f"waited {timeout:g} s for {what}")
        time.sleep(poll)
