"""After the thaw: follow the copy that a cut began to its end, and make it visible. The guest runs meanwhile.

Both intents are in the journal before this begins, and nothing is written to it here: a journal that is away for as
long as a copy takes costs no backup.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.errors import CallError, Rejected
from orchestrator.model import Action, Outcome, Progress
from orchestrator.policy import cut_of
from orchestrator.ports import CopyingDriver, Plan
from orchestrator.recorder import Recorder

#: Seconds between two looks at a copy: a tenth of its age, so that a short one's end is soon seen, but neither less nor
#: more than these. Those that one look may take.
_SOON, _PAUSE, _LOOK = 0.05, 1.0, 10.0
#: Seconds without an answer after which a copy is given up: a libvirtd that is restarted is back before.
_SILENCE = 120.0


def copy_and_publish(
    driver: CopyingDriver, plan: Plan, recorder: Recorder, clock: Clock, limit: float, stop: Stop
) -> None:
    """Afterwards both have their outcome in the recorder. The copy may take `limit` seconds; `stop` ends it early.

    Raises no CallError: what was not published is for `settle_cut` to end and to remove.
    """
    try:
        with recorder.act(Action.COPY) as figures:
            _follow(driver, plan, recorder, clock, limit, stop, figures)
    except CallError as error:
        recorder.conclude(Action.PUBLISH, Outcome.FAILED, f"not begun: {error}")
        return
    recorder.tell(Action.PUBLISH)
    with suppress(CallError), recorder.act(Action.PUBLISH) as figures:
        figures["made"] = driver.publish(plan, cut_of(recorder.steps), Deadline.after(clock, limit))


def _follow(
    driver: CopyingDriver,
    plan: Plan,
    recorder: Recorder,
    clock: Clock,
    limit: float,
    stop: Stop,
    figures: dict[str, Any],
) -> None:
    """Wait for the end of the copy, and say each second how far it is; `figures` hold the last that was heard."""
    began, deadline, silence = clock.monotonic(), Deadline.after(clock, limit), Deadline.after(clock, _SILENCE)
    told, stopped = Deadline.after(clock, 0), threading.Event()
    with stop.calling(stopped.set):
        while True:
            try:
                progress = driver.copied(plan, Deadline.after(clock, _LOOK))
            except Rejected:
                raise
            except CallError:
                if silence.passed:
                    raise
            else:
                silence = Deadline.after(clock, _SILENCE)
                figures |= figures_of(progress, clock.monotonic() - began)
                if progress.ended:
                    return
                if told.passed:
                    recorder.tell(Action.COPY, **figures)
                    told = Deadline.after(clock, _PAUSE)
            if deadline.passed:
                raise Rejected(f"the copy did not end within the copy_limit of {limit:g} s")
            pause = min(_PAUSE, max(_SOON, (clock.monotonic() - began) / 10))
            if clock.wait(stopped, Deadline.after(clock, pause)):
                raise Rejected("the copy was ended by its user")


def figures_of(progress: Progress, seconds: float) -> Mapping[str, Any]:
    """How far something is that began that long ago, its mean rate, and the time that is left at that rate."""
    done, total = progress.done_bytes, progress.total_bytes
    rate = done / seconds if seconds > 0 else 0.0
    return {
        "percent": 100 if progress.ended else min(99, 100 * done // total) if total > 0 else 0,
        "bytes": done,
        "total_bytes": total,
        "bytes_per_second": round(rate),
        "seconds_left": 0 if progress.ended else round((total - done) / rate) if rate > 0 else None,
    }
