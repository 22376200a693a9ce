"""The site over a world, served on a unix socket and a port as `quiesce serve` does."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from orchestrator.answers import Report
from orchestrator.clock import Deadline, Stop, SystemClock
from orchestrator.demand import Demand
from orchestrator.journal import SqlJournal
from orchestrator.model import Role, TcpListener, Token, UnixListener
from orchestrator.service import Service
from orchestrator.tokens import digest_of, new_secret
from orchestrator.web import Feed, Parts, listening, make_site, serving
from orchestrator.web.gate import Gate
from tests.laws.conftest import World


@dataclass(frozen=True)
class Site:
    """A site that is served, and how it is asked."""

    world: World
    service: Service
    journal: SqlJournal
    gate: Gate
    #: By the unix socket: as the service's own user.
    local: httpx.Client
    #: By the port, as nobody.
    remote: httpx.Client
    #: Where the unix socket is.
    path: str
    #: Requested when the service is to end.
    ending: Stop

    def token(self, role: Role, name: str = "", lasts: float = 3600.0) -> str:
        """A new token of that role, which holds for so many seconds."""
        secret, now = new_secret(), SystemClock().now()
        token = Token(name or secret[-8:], role, now, "test", now + timedelta(seconds=lasts))
        assert self.journal.tokens().create(token, digest_of(secret))
        return secret

    def headers(self, role: Role) -> dict[str, str]:
        """What a request carries that comes from somebody of that role."""
        return {"Authorization": f"Bearer {self.token(role)}"}


def make_parts(service: Service, journal: SqlJournal, demand: Demand) -> Parts:
    """What the routes are served from, over a service and its journal."""
    return Parts(
        service=service,
        demand=demand,
        ledger=journal.ledger(),
        statistics=journal.statistics(),
        schedules=journal.schedules(),
        coming=lambda count: [],
        report=lambda days, overdue: Report(SystemClock().now(), (), (), (), ()),
        metrics=lambda: b"",
        feed=Feed(journal.events(), SystemClock()),
        tokens=journal.tokens(),
        audit=journal.audit(),
    )


@contextmanager
def served(world: World, folder: Path, **changes: Any) -> Iterator[Site]:
    """Within the `with`, the service of the world is served."""
    journal = world.journal
    assert isinstance(journal, SqlJournal)
    service = world.service(**changes)
    ending = Stop()
    demand = Demand(service, journal.requests(), SystemClock(), ending)
    gate = make_site(make_parts(service, journal, demand), SystemClock())
    path = str(folder / "api.sock")
    with ExitStack() as stack:
        sockets = stack.enter_context(listening([UnixListener(path), TcpListener("127.0.0.1", 0)]))
        port = sockets[1].getsockname()[1]
        stack.enter_context(serving(gate, sockets))
        local = stack.enter_context(
            httpx.Client(transport=httpx.HTTPTransport(uds=path), base_url="http://localhost", timeout=60)
        )
        remote = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60))
        yield Site(world, service, journal, gate, local, remote, path, ending)
        demand.close(Deadline.after(SystemClock(), 0))
