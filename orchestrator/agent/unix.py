"""The agent's unix socket, as QEMU offers it for a virtio-serial port (`-chardev socket,server=on`).

QEMU serves one client of such a socket at a time. A second one can connect, and hears nothing until the first has gone.
"""

import contextlib
import math
import select
import socket
import struct
from pathlib import Path

from orchestrator.agent.session import Session
from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Unreachable

#: Bytes taken from the kernel at once.
CHUNK = 64 * 1024


def unix_channel(path: str) -> Session:
    """The channel to the agent whose unix socket is at `path`. Connects when first used."""
    return Session(UnixTransport(path))


class UnixTransport:
    """A `Transport` over one unix socket. After the other side has closed it, `connect` connects anew."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def connect(self, deadline: Deadline) -> bool:
        """Be connected; say whether that took a new connection. Raises Unreachable, naming the path."""
        if self._socket is not None:
            return False
        if deadline.passed:
            raise Unreachable(f"{self._path}: no time was left to connect")
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            _limit_connect(connection, deadline.remaining())
            connection.connect(self._path)
            connection.setblocking(False)
        except (OSError, ValueError) as error:
            connection.close()
            raise Unreachable(f"{self._path}: {_why_not_connected(error, Path(self._path))}") from error
        self._socket = connection
        return True

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Send all of `data`. Raises Unreachable when none of it was sent, else OutcomeUnknown."""
        sent = 0
        try:
            while sent < len(data):
                sent += self._when(select.POLLOUT, deadline).send(data[sent:])
        except OSError as error:
            kind = OutcomeUnknown if sent else Unreachable
            raise kind(f"{self._path}: {self._why_failed(error)}") from error

    def receive(self, deadline: Deadline) -> bytes:
        """Wait for bytes, at least one. Raises OutcomeUnknown when none came, or none can come any more."""
        try:
            data = self._when(select.POLLIN, deadline).recv(CHUNK)
            if not data:
                raise ConnectionResetError
        except OSError as error:
            raise OutcomeUnknown(f"{self._path}: {self._why_failed(error)}") from error
        return data

    def arrived(self) -> bytes:
        """Some of the bytes that are there already, without waiting; empty when there are none."""
        if self._socket is None:
            return b""
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            self.close()
        return data

    def close(self) -> None:
        """Drop the connection. Never raises."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.close()
            self._socket = None

    def _when(self, event: int, deadline: Deadline) -> socket.socket:
        """The connection, once it is ready for `event`. Raises OSError, and TimeoutError when `deadline` has passed.

        The deadline comes first: a peer that always has one more byte cannot extend it.
        """
        if self._socket is None:
            raise ConnectionResetError
        poll = select.poll()
        poll.register(self._socket, event)
        if deadline.passed or not poll.poll(math.ceil(deadline.remaining() * 1000)):
            raise TimeoutError
        return self._socket

    def _why_failed(self, error: OSError) -> str:
        """What an error means; the connection is dropped unless it was only slow."""
        if isinstance(error, TimeoutError):
            return "no answer in time"
        self.close()
        if isinstance(error, ConnectionError):
            return "the other side closed the connection"
        return error.strerror or str(error)


def _limit_connect(connection: socket.socket, seconds: float) -> None:
    """Bound a blocking connect, which waits while QEMU's queue of clients is full.

    A socket that does not block would be turned away at once then, and poll(2) does not tell when to try again.
    """
    whole = int(seconds)
    microseconds = max(1, int((seconds - whole) * 1_000_000))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", whole, microseconds))


def _why_not_connected(error: Exception, path: Path) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such socket; the machine may not run, or have its agent elsewhere"
        case ConnectionRefusedError() if not path.is_socket():
            return "this is no socket; correct the machine's agent in the configuration"
        case ConnectionRefusedError():
            return "nothing listens on this socket; the machine may not run"
        case PermissionError():
            return "permission denied; this user may not use the socket"
        case BlockingIOError():
            return "other clients hold the socket, and its queue is full"
        case _:
            return f"cannot connect: {error}"
