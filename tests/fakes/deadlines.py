"""Time limits for tests on the real clock."""

from orchestrator.clock import Deadline, SystemClock


def soon() -> Deadline:
    """For what is expected to time out."""
    return Deadline.after(SystemClock(), 0.5)


def later() -> Deadline:
    """For what is expected to be answered."""
    return Deadline.after(SystemClock(), 20)
