"""A connection to the server: who is at its other end, and how long it may take to say what it wants."""

import asyncio
import socket
import struct

from uvicorn.protocols.http.h11_impl import H11Protocol

from orchestrator.web.callers import UID

#: Seconds until a request's head is there.
HEAD = 10.0


class Connection(H11Protocol):
    """One connection of HTTP/1.1.

    The server knows no address for a process that comes by a unix socket; the kernel says which it was
    (SO_PEERCRED, unix(7)).
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base has it
        super().connection_made(transport)
        link = transport.get_extra_info("socket")
        if link.family == socket.AF_UNIX:
            pid, uid, _ = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            self.client = (f"{UID}{uid}", pid)
        self._expect()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._late.cancel()

    def on_response_complete(self) -> None:
        before = self.cycle
        super().on_response_complete()
        if self.cycle is before:  # the next request was not there already
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(exc)

    def _expect(self) -> None:
        """From now on, the head of a request is waited for."""
        self._late = self.loop.call_later(HEAD, self.transport.close)
