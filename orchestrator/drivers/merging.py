"""One merge, from its beginning to its end: the machine's real chain says how far it is, and never our memory."""

from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.clock import Deadline
from orchestrator.errors import CallError, OutcomeUnknown, Rejected
from orchestrator.model import Progress
from orchestrator.ports import Merges

#: Seconds between two looks at a merge, and those that one call may take.
_PAUSE, _CALL = 0.5, 30.0
#: Seconds for which a job may be gone and its effect on the chain not be seen yet: libvirt writes it down later.
_SETTLE = 10.0


def merge(
    merges: Merges, disk: str, overlay: str, deadline: Deadline, *, attach: bool
) -> Generator[Progress, None, None]:
    """Merge one overlay into the file directly below it. When the iteration has ended, no disk stands on it any more.

    `attach`: one of ours may be under way already, and is gone on with. Closing the iteration cancels the merge. Raises
    CallError; Rejected when somebody else has cancelled it.
    """
    last = Progress(0, space(overlay) or 0, ended=False)
    yield last
    going = attach
    settled = Deadline.after(deadline.clock, 0)
    try:
        while True:
            progress = merges.progress(disk, overlay, deadline.within(_CALL)) if going else None
            if progress is not None:
                settled = Deadline.after(deadline.clock, _SETTLE)
                last = progress
                yield last
            elif overlay not in (chain := _chain(merges, disk, deadline)):
                break
            elif not going or attach:
                merges.begin(disk, overlay, _below(overlay, chain), deadline.within(_CALL))
                going, attach = True, False
                settled = Deadline.after(deadline.clock, _SETTLE)
                continue
            elif settled.passed:
                raise Rejected(f"the merge of {overlay} was cancelled, or failed: it is begun anew by the next pruning")
            if deadline.passed:
                raise OutcomeUnknown(f"the merge of {overlay} did not end in time")
            deadline.clock.sleep(_PAUSE)
        going = False
        yield replace(last, ended=True)
    finally:
        if going:
            with suppress(CallError):  # Whoever comes next finds it, and goes on with it.
                merges.cancel(disk, overlay, Deadline.after(deadline.clock, _CALL))


def _chain(merges: Merges, disk: str, deadline: Deadline) -> tuple[str, ...]:
    chains = merges.chains(deadline.within(_CALL))
    if disk not in chains:
        raise Rejected(f"the disk {disk} is gone: nothing is known of its chain")
    return chains[disk]


def _below(overlay: str, chain: tuple[str, ...]) -> str:
    below = chain[chain.index(overlay) + 1 :]
    if not below:
        raise Rejected(f"{overlay} stands on nothing: it cannot be merged")
    return below[0]


def space(path: str) -> int | None:
    """The space that a file takes, in bytes; None when it is not on this host, or cannot be looked at."""
    with suppress(OSError):
        return Path(path).stat().st_blocks * 512
    return None
