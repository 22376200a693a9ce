"""When a call is repeated, per phase of the transaction.

=================  ===================================================================================
before the freeze  free: nothing was changed yet, so a query that got no answer is asked again
the freeze         never: a second freeze could land after our thaw. There is no rule here, on purpose
the cut            never: its name is asked for instead. There is no rule here, on purpose
the thaw           until it is confirmed, or until the command's `thaw_timeout`; by the guard, without an end
after the thaw     a question about the cut, and the journal, are tried again for a while: no guest waits for them
=================  ===================================================================================

A rule stops *before* the sleep that would pass its deadline, not after it: tenacity's `stop_after_delay(10)` with
waits of 4 s ends at 14 s.
"""

from tenacity import RetryCallState, Retrying, retry_if_exception, retry_if_exception_type, wait_exponential

from orchestrator.clock import Clock, Deadline
from orchestrator.errors import CallError, JournalUnavailable, Rejected


def until_answered(deadline: Deadline) -> Retrying:
    """Repeat a question that got no answer until `deadline`. An answer that says no is final."""
    return _retrying(
        deadline,
        retry_if_exception(lambda error: isinstance(error, CallError) and not isinstance(error, Rejected)),
        longest_wait=2.0,
    )


def until_confirmed(deadline: Deadline) -> Retrying:
    """Repeat a thaw until it is confirmed or `deadline` comes, whatever went wrong with it."""
    return _retrying(deadline, retry_if_exception_type(CallError), longest_wait=5.0)


def without_end(clock: Clock) -> Retrying:
    """Repeat what the guard does, whatever goes wrong, until it is done."""
    return Retrying(
        sleep=clock.sleep,
        retry=retry_if_exception_type(Exception),
        wait=wait_exponential(multiplier=0.25, max=30.0),
    )


def after_thaw(deadline: Deadline) -> Retrying:
    """Repeat a write to a journal that is away."""
    return _retrying(deadline, retry_if_exception_type(JournalUnavailable), longest_wait=2.0)


def _retrying(deadline: Deadline, retry: "retry_if_exception", longest_wait: float) -> Retrying:
    def stop(state: RetryCallState) -> bool:
        return state.upcoming_sleep >= deadline.remaining()

    return Retrying(
        sleep=deadline.clock.sleep,
        retry=retry,
        wait=wait_exponential(multiplier=0.1, max=longest_wait),
        stop=stop,
        reraise=True,
    )
