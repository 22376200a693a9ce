"""Decides what is news, and sends it: on one thread, for which nobody waits."""

import platform
import queue
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from orchestrator.clock import Clock, Deadline, Task
from orchestrator.errors import JournalError
from orchestrator.model import Concern, Notice, NoticeKind, Told
from orchestrator.ports import Memory

if TYPE_CHECKING:  # who has nobody to tell need not load apprise
    from orchestrator.notify.addresses import Address

#: Notices that wait; those beyond are dropped.
_MOST = 1000
#: Seconds for which notices are gathered into one message, and for one address to take it.
_GATHER, _SENDING = 2.0, 30.0
#: Lines that a message shows.
_LINES = 20
#: After this time, what lasts is told again.
_AGAIN = timedelta(days=1)

_END = object()

_OVER = {
    NoticeKind.STUCK: "it is not stuck any more",
    NoticeKind.FOREIGN: "it is not seen frozen any more",
}

log = structlog.get_logger()


class Messenger:
    """`ports.Notifier` by the configured addresses."""

    def __init__(self, memory: Memory, clock: Clock, count: Callable[[str], None]) -> None:
        """`count` is told what became of each message, `sent` or `failed`, and of each notice that was `dropped`."""
        self._memory, self._clock, self._count = memory, clock, count
        self._addresses: Sequence[Address] = ()
        self._on: Collection[NoticeKind] = ()
        self._told: dict[Concern, datetime] = {}
        with suppress(JournalError):  # then it may be told twice
            self._told = {told.concern: told.at for told in memory.told()}
        self._news: list[Notice] = []
        self._ending = False
        self._queue: queue.Queue[Callable[[], None] | object] = queue.Queue(_MOST)
        self._task = Task(clock, "notices", self._work)

    def configure(self, addresses: "Sequence[Address]", on: Collection[NoticeKind]) -> None:
        """From now on, tell those, and of these."""
        self._addresses, self._on = addresses, on

    def tell(self, notice: Notice) -> None:
        """See `ports.Notifier`."""
        self._put(partial(self._consider, notice, self._clock.now()))

    def well(self, job: str, machine: str) -> None:
        """See `ports.Notifier`."""
        kinds = NoticeKind.FAILED, NoticeKind.DEGRADED, NoticeKind.MISSED
        known = [Concern(kind, job, of) for kind in kinds for of in (machine, None)]
        if any(concern in self._told for concern in known):
            self._put(partial(self._end, known, f"OVER {machine}: {job} has done its work again."))

    def stand(self, kind: NoticeKind, notices: Collection[Notice], seen: datetime) -> None:
        """See `ports.Notifier`."""
        standing = {notice.concern for notice in notices}
        for notice in notices:
            self.tell(notice)
        for concern, at in list(self._told.items()):
            if concern.kind is kind and concern not in standing and at < seen:
                self._put(partial(self._end, [concern], f"OVER {concern.machine}: {_OVER[kind]}."))

    def close(self, patience: Deadline) -> None:
        """Send what was told before, if that can be done until `patience` ends."""
        self._ending = True
        with suppress(queue.Full):  # then there is enough to wake up for
            self._queue.put_nowait(_END)
        self._task.wait(patience)

    def _put(self, work: Callable[[], None]) -> None:
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            self._count("dropped")
            log.warning("a notice is dropped: too many wait")

    def _work(self) -> None:
        going = True
        while going:
            work = self._queue.get()
            gathered = Deadline.after(self._clock, _GATHER)
            while callable(work):
                work()
                if len(self._news) >= _MOST:
                    break
                try:
                    work = self._queue.get(timeout=gathered.remaining())
                except queue.Empty:
                    break
            going = work is not _END and not (self._ending and self._queue.empty())
            self._send()

    def _consider(self, notice: Notice, now: datetime) -> None:
        concern = notice.concern
        if concern.kind is NoticeKind.RECOVERED:  # each is another run
            self._over(Concern(NoticeKind.STUCK, machine=concern.machine))
            self._take(notice)
            return
        told = self._told.get(concern)
        if concern.kind in self._on and (told is None or now - told >= _AGAIN):
            self._told[concern] = now
            self._take(notice)

    def _end(self, concerns: Sequence[Concern], text: str) -> None:
        ended = [concern for concern in concerns if self._over(concern)]
        if ended:
            self._take(Notice(Concern(NoticeKind.RECOVERED), text))

    def _over(self, concern: Concern) -> bool:
        if self._told.pop(concern, None) is None:
            return False
        with suppress(JournalError):  # then it is over a second time after the next start
            self._memory.forget(concern)
        return True

    def _take(self, notice: Notice) -> None:
        if notice.concern.kind in self._on:
            self._news.append(notice)

    def _send(self) -> None:
        """Send the news. What no address has taken is news again when it is told again."""
        news, self._news = self._news, []
        if not news:
            return
        title, body = message(news)
        taken = [address for address in self._addresses if self._deliver(address, title, body)]
        for concern in {notice.concern for notice in news} & self._told.keys():
            if taken:
                with suppress(JournalError):  # then it may be told twice
                    self._memory.remember(Told(concern, self._told[concern]))
            else:
                del self._told[concern]

    def _deliver(self, address: "Address", title: str, body: str) -> bool:
        delivery = address.send(title, body, self._clock, Deadline.after(self._clock, _SENDING))
        if delivery.error is None:
            self._count("sent")
            log.info("notice sent", to=delivery.address, title=title)
        else:
            self._count("failed")
            log.warning("notice not sent", to=delivery.address, title=title, error=delivery.error)
        return delivery.error is None


def message(news: Sequence[Notice]) -> tuple[str, str]:
    """Title and body of the message with these notices, the gravest first."""
    gravest_first = sorted(news, key=lambda notice: list(NoticeKind).index(notice.concern.kind))
    counts = Counter(notice.concern.kind for notice in gravest_first)
    title = f"quiesce on {platform.node()}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines = [notice.text for notice in gravest_first[:_LINES]]
    if len(news) > _LINES:
        lines.append(f"... and {len(news) - _LINES} more: `quiesce history` shows them.")
    return title, "\n\n".join(lines)
