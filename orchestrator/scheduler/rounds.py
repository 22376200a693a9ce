"""The rounds: again and again, is any guest frozen that no run of the journal keeps so? Nothing is changed by it.

They go on a thread of their own, so that agents that do not answer, be they a thousand, hold up nothing.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog

from orchestrator import notices
from orchestrator.clock import Clock, Deadline, Stop, Task
from orchestrator.errors import QuiesceError
from orchestrator.model import NoticeKind, Sight, Sighting
from orchestrator.ports import Notifier
from orchestrator.service import Service

#: Seconds from the end of one round to the next.
_EVERY = 60.0
#: Seconds for a machine that is being looked at to answer: longer than a look takes.
_LAST = 15.0

log = structlog.get_logger()


class Rounds:
    """Looks at all machines of a service. A freeze of somebody else is logged once, and notified when it lasts."""

    def __init__(
        self, service: Service, clock: Clock, notifier: Notifier, seen: Callable[[Sequence[Sighting]], None]
    ) -> None:
        """`seen` is told what each round saw."""
        self._service, self._clock, self._notifier, self._seen = service, clock, notifier, seen
        self._foreign: frozenset[str] = frozenset()

    @contextmanager
    def going(self) -> Iterator[None]:
        """Within the `with`, go one round after the other. Leaving it waits for the machines that are looked at."""
        stop = Stop()
        task = Task(self._clock, "rounds", partial(self._go, stop))
        try:
            yield
        finally:
            stop.request()
            task.wait(Deadline.after(self._clock, _LAST))

    def look(self, stop: Stop) -> None:
        """Go one round, as far as `stop` lets it."""
        begin = self._clock.now()
        try:
            sightings = self._service.look(stop)
        except QuiesceError as error:
            log.error("cannot look at the machines", error=str(error))
            return
        if stop.requested:  # some machines were left out
            return
        self._seen(sightings)
        before, self._foreign = self._foreign, frozenset(s.machine for s in sightings if s.saw is Sight.FOREIGN)
        for machine in sorted(self._foreign - before):
            log.warning("frozen, and by no run of the journal: it is left so", machine=machine)
        for machine in sorted(before - self._foreign):
            log.info("not frozen by others any more", machine=machine)
        # Another tool's window may be open just now. In the next round it is not.
        lasting = [each for each in sightings if each.machine in before]
        self._notifier.stand(NoticeKind.FOREIGN, notices.of_foreign(lasting), begin)

    def _go(self, stop: Stop) -> None:
        stopped = threading.Event()
        with stop.calling(stopped.set):
            while not stop.requested:
                self.look(stop)
                self._clock.wait(stopped, Deadline.after(self._clock, _EVERY))
