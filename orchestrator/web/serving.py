"""The server: one event loop on a thread of its own, beside the scheduler."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from orchestrator.clock import Deadline, SystemClock, Task
from orchestrator.errors import ConfigError
from orchestrator.model import Tls
from orchestrator.web.connections import Connection

#: Seconds for which the end of the service waits for answers that are being given.
_PATIENCE = 3
#: The largest head of a request, in bytes.
_HEAD = 16 * 1024
#: Connections at once.
_MOST = 256


@contextmanager
def serving(site: ASGIApp, sockets: Sequence[socket.socket], tls: Tls | None = None) -> Iterator[None]:
    """Within the `with`, the site is served on these sockets, on those of the network by TLS if there is one.

    Leaving it takes a few seconds at most. Raises ConfigError when the certificate cannot be used.
    """
    context, clock = None if tls is None else _context(tls), SystemClock()
    local = [each for each in sockets if each.family == socket.AF_UNIX]
    network = [each for each in sockets if each.family != socket.AF_UNIX]
    servers = {uvicorn.Server(_configured(site, None)): local, uvicorn.Server(_configured(site, context)): network}
    tasks = [Task(clock, "web", partial(server.run, sockets=theirs)) for server, theirs in servers.items() if theirs]
    try:
        yield
    finally:
        for server in servers:
            server.should_exit = True
        patience = Deadline.after(clock, 2 * _PATIENCE)
        for task in tasks:
            task.wait(patience)


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # also what OpenSSL says of files that do not fit
        why = error.strerror or str(error)
        raise ConfigError(f"service.tls: {tls.certificate} and {tls.key} cannot be used: {why}") from error
    return context


def _configured(site: ASGIApp, tls: ssl.SSLContext | None) -> uvicorn.Config:
    return uvicorn.Config(
        site,
        http=Connection,
        ssl_context_factory=None if tls is None else lambda config, default: tls,
        h11_max_incomplete_event_size=_HEAD,
        lifespan="off",
        ws="none",
        proxy_headers=False,  # whom a request comes from, nobody else can say
        server_header=False,
        access_log=False,
        log_config=None,
        limit_concurrency=_MOST,
        timeout_graceful_shutdown=_PATIENCE,
    )
