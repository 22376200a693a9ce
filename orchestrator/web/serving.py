"""The server: one event loop on a thread of its own, beside the scheduler."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import uvicorn
from starlette.types import ASGIApp

from orchestrator.clock import Deadline, SystemClock, Task
from orchestrator.web.connections import Connection

#: Seconds for which the end of the service waits for answers that are being given.
_PATIENCE = 3
#: The largest head of a request, in bytes.
_HEAD = 16 * 1024
#: Connections at once.
_MOST = 256


@contextmanager
def serving(site: ASGIApp, sockets: Sequence[socket.socket]) -> Iterator[None]:
    """Within the `with`, the site is served on these sockets. Leaving it takes a few seconds at most."""
    clock = SystemClock()
    server = uvicorn.Server(_configured(site))
    task = Task(clock, "web", partial(server.run, sockets=list(sockets)))
    try:
        yield
    finally:
        server.should_exit = True
        task.wait(Deadline.after(clock, 2 * _PATIENCE))


def _configured(site: ASGIApp) -> uvicorn.Config:
    return uvicorn.Config(
        site,
        http=Connection,
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
