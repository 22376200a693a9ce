"""Who is told: an HTTP server on loopback that takes what apprise's `json://` sends, or is mute."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class Mailbox:
    """Keeps the messages that it takes. A mute one takes connections, and never answers."""

    def __init__(self, *, mute: bool = False, status: int = 200) -> None:
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._released = threading.Event()
        mailbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                mailbox._messages.put(json.loads(content))
                if mute:
                    mailbox._released.wait()
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the test's output is its own."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The address, with a password."""
        return f"json://operator:s3cret@127.0.0.1:{self._server.server_port}/"

    def __enter__(self) -> "Mailbox":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, seconds: float = 60) -> dict[str, Any]:
        """The next message, when it has come."""
        return self._messages.get(timeout=seconds)

    @property
    def empty(self) -> bool:
        """Whether all messages were taken out."""
        return self._messages.empty()
