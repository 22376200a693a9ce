"""The virtio-serial port between a guest and one client of its unix socket, as QEMU serves it."""

import contextlib
import queue
import socket
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path


class Port:
    """A listening socket that serves one client at a time and keeps, for the next one, what nobody heard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inbox: queue.Queue[bytes | None] = queue.Queue()
        self._lock = threading.Lock()
        self._client: socket.socket | None = None
        self._kept = b""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = threading.Thread(target=self._serve, name="fake-port", daemon=True)

    def open(self) -> None:
        """Listen, and serve clients on a thread."""
        self._listener.bind(str(self.path))
        self._listener.listen(1)
        self._thread.start()

    def close(self) -> None:
        """Let the client go, and stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self.disconnect()
        self._thread.join(10)
        self._listener.close()
        self.path.unlink()

    def received(self) -> Iterator[bytes]:
        """What clients send, piece by piece, until the port is closed."""
        return iter(self._inbox.get, None)

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send to the client that is there, or keep it for the next; a client that goes in between misses the rest."""
        with self._lock:
            client = self._client
            if client is None:
                self._kept += b"".join(pieces)
                return
        with contextlib.suppress(OSError):
            for piece in pieces:
                client.sendall(piece)

    def disconnect(self) -> None:
        """Close the connection of the client that is there."""
        with self._lock:
            if self._client is not None:
                self._client.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client:
                    self._attach(client)
                    self._read(client)
                    with self._lock:
                        self._client = None
        self._inbox.put(None)

    def _attach(self, client: socket.socket) -> None:
        with self._lock:
            kept, self._kept = self._kept, b""
            self._client = client
        with contextlib.suppress(OSError):
            client.sendall(kept)

    def _read(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for data in iter(lambda: client.recv(65536), b""):
                self._inbox.put(data)
