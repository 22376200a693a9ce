"""How the service is watched, wired: its log, its metrics and its notices."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import logs, notices
from orchestrator.clock import Clock, Deadline
from orchestrator.errors import ConfigError
from orchestrator.journal import SqlJournal
from orchestrator.metrics import Events, History, QueueLength, render
from orchestrator.model import Coming, Delivery, Notices
from orchestrator.notify.messenger import Messenger
from orchestrator.ports import Journal, Witness
from orchestrator.service import Service
from orchestrator.witnessed import WitnessedJournal

if TYPE_CHECKING:
    from orchestrator.notify.addresses import Address

#: Seconds for which the end of the service waits for notices to be sent, and `notices test` for one address.
_LAST_WORDS, _TRIAL = 10.0, 30.0


class Watching:
    """Watches one service: everything that its journal takes, and what its scheduler sees."""

    def __init__(self, journal: SqlJournal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self.events = Events()
        self.messenger = Messenger(journal.memory(), clock, self.events.notice)

    def witnessed(self, *others: Witness) -> Journal:
        """The journal, with the watchers and `others` as its witnesses."""
        told = notices.witness(self._journal, self.messenger)
        return WitnessedJournal(self._journal, [logs.witness, self.events.witness, told, *others])

    def configure(self, wanted: Notices, source: Path) -> None:
        """Tell those whom the configuration file `source` names from now on. Raises ConfigError."""
        self.messenger.configure(addresses(wanted, source), wanted.on)

    def metrics(
        self, service: Service, coming: Callable[[], Sequence[Coming]], queued: Callable[[], tuple[int, int]]
    ) -> Callable[[], bytes]:
        """What Prometheus reads."""
        history = History(service, self._journal, self._journal.statistics(), coming, self._clock)
        return partial(render, [self.events, history, QueueLength(queued)])

    def close(self) -> None:
        """Send what people were to be told, if that takes no longer than some seconds."""
        self.messenger.close(Deadline.after(self._clock, _LAST_WORDS))


def addresses(wanted: Notices, source: Path) -> "Sequence[Address]":
    """The configured addresses. Raises ConfigError. apprise takes its time to load, and is loaded for those only."""
    if not wanted.urls and wanted.urls_file is None:
        return ()
    from orchestrator.notify.addresses import addresses

    return addresses(wanted, source)


def try_notices(wanted: Notices, source: Path, clock: Clock) -> Sequence[Delivery]:
    """Send a message to each configured address. Raises ConfigError when there is none."""
    found = addresses(wanted, source)
    if not found:
        raise ConfigError(f"{source}: nobody is told of runs: set `urls` or `urls_file` in [notices]")
    text = "This is a test: notices of quiesce arrive here."
    return [each.send("quiesce: a test", text, clock, Deadline.after(clock, _TRIAL)) for each in found]
