"""The steps of one target, kept in memory until the journal can take them.

Between freeze and thaw nothing waits for the database, so what happens there is written down here, with
monotonic times, and handed to the journal after the thaw.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from orchestrator.clock import Clock
from orchestrator.errors import OutcomeUnknown, QuiesceError
from orchestrator.model import Action, Job, Outcome, Owner, Run, Step, Target, Trigger
from orchestrator.ports import Observer


def new_run(clock: Clock, owner: Owner, job: Job | None, trigger: Trigger, targets: tuple[Target, ...]) -> Run:
    """A run that begins now."""
    now = clock.now()
    return Run(id=new_id(now), job=job, trigger=trigger, owner=owner, started_at=now, targets=targets)


def new_id(now: datetime) -> str:
    """An id for a run: it sorts by time, is safe in file names, and is short enough to be typed."""
    return f"{now:%Y%m%d-%H%M%S}-{os.urandom(3).hex()}"  # `secrets` would load OpenSSL


class Recorder:
    """Writes down intents and outcomes of one machine. Safe to use from several threads."""

    def __init__(self, machine: str, clock: Clock, observer: Observer | None = None) -> None:
        self._machine = machine
        self._clock = clock
        self._observer = observer
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        self._journaled = 0
        self._abandoned: set[Action] = set()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everything that was written down so far."""
        with self._lock:
            return tuple(self._steps)

    def unjournaled(self) -> tuple[Step, ...]:
        """The steps that the journal does not have yet."""
        with self._lock:
            return tuple(self._steps[self._journaled :])

    def journaled(self, steps: tuple[Step, ...]) -> None:
        """The journal has taken `steps`, as `unjournaled` returned them."""
        with self._lock:
            self._journaled += len(steps)

    @contextmanager
    def journaling(self) -> Iterator[tuple[Step, ...]]:
        """The steps that the journal does not have yet, which the body of the `with` writes. Afterwards it has them,
        unless the body raises.
        """
        steps = self.unjournaled()
        yield steps
        self.journaled(steps)

    def found(self, count: int) -> None:
        """The journal was looked at, and has that many of the steps."""
        with self._lock:
            self._journaled = min(count, len(self._steps))

    def intend(self, action: Action, **figures: Any) -> None:
        """Write down that `action` is about to be done."""
        self._add(self._step(action, Outcome.INTENT, None, figures))

    def tell(self, action: Action, **figures: Any) -> None:
        """Let the observer know how far `action` is. It is not written down."""
        self._tell(self._step(action, Outcome.INTENT, None, figures))

    @contextmanager
    def act(self, action: Action, **figures: Any) -> Iterator[dict[str, Any]]:
        """Write down how the body of the `with` ends; the body adds what it learns to the figures.

        Raises what the body raises, except that anything which is not one of our own errors becomes
        OutcomeUnknown: a defect in an adapter or a library must not look like a guest that was never touched.
        """
        began = self._clock.monotonic()
        try:
            yield figures
        except QuiesceError as error:
            self._end(action, began, figures, error)
            raise
        except Exception as defect:
            unknown = OutcomeUnknown(f"a defect ended the {action}: {type(defect).__name__}: {defect}")
            self._end(action, began, figures, unknown)
            raise unknown from defect
        else:
            self._end(action, began, figures, None)

    def conclude(self, action: Action, outcome: Outcome, why: str, **figures: Any) -> None:
        """Write down how an intended `action` ended that was not begun, or not by this process."""
        self._add(self._step(action, outcome, None, figures, QuiesceError(why)))

    def abandon(self, action: Action, error: OutcomeUnknown) -> None:
        """Write down that nobody waits for `action` any longer; how it ends later is not written down."""
        step = self._step(action, Outcome.UNKNOWN, None, {}, error)
        with self._lock:
            if any(s.action is action and s.outcome is not Outcome.INTENT for s in self._steps):
                return
            self._abandoned.add(action)
            self._steps.append(step)
        self._tell(step)

    def include(self, steps: Iterable[Step]) -> None:
        """Write down steps that another process made."""
        for step in steps:
            self._add(step)

    def _end(self, action: Action, began: float, figures: dict[str, Any], error: QuiesceError | None) -> None:
        outcome = Outcome.DONE
        if error is not None:
            outcome = Outcome.UNKNOWN if isinstance(error, OutcomeUnknown) else Outcome.FAILED
        step = self._step(action, outcome, began, figures, error)
        with self._lock:
            if action in self._abandoned:
                return
            self._steps.append(step)
        self._tell(step)

    def _step(
        self,
        action: Action,
        outcome: Outcome,
        began: float | None,
        figures: dict[str, Any],
        error: QuiesceError | None = None,
    ) -> Step:
        now = self._clock.monotonic()
        return Step(
            machine=self._machine,
            action=action,
            outcome=outcome,
            at=self._clock.now(),
            monotonic=now,
            duration_ms=None if began is None else (now - began) * 1000,
            figures=figures,
            error=None if error is None else str(error),
        )

    def _add(self, step: Step) -> None:
        with self._lock:
            self._steps.append(step)
        self._tell(step)

    def _tell(self, step: Step) -> None:
        if self._observer is not None:
            with suppress(Exception):  # A defect in a display must not keep a guest frozen.
                self._observer(step)
