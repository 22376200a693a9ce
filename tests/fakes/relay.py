"""A unix socket in front of another one, which loses answers or breaks connections on demand."""

import contextlib
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class Relay:
    """Passes bytes between each client of `path` and a connection of its own to `target`."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self._target = target
        #: What makes us lose answers when a client says it; None is nothing.
        self._losing: bytes | None = None
        self._answers = True
        self._sockets: list[socket.socket] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def lose_answers(self, request: bytes = b"") -> None:
        """Go on passing on what clients say, but lose all answers from the first request on that holds `request`."""
        self._losing = request

    def pass_on_answers(self) -> None:
        """Be transparent again."""
        self._losing = None
        self._answers = True

    def sever(self) -> None:
        """Break all connections that there are now."""
        for connection in self._sockets:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.sever()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            behind = socket.socket(socket.AF_UNIX)
            try:
                behind.connect(str(self._target))
            except OSError:
                client.close()
                behind.close()
                continue
            self._sockets += [client, behind]
            threading.Thread(target=self._pump, args=(client, behind, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(behind, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._losing is not None and (self._losing == b"" or (not answers and self._losing in data)):
                    self._answers = False
                if self._answers or not answers:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
