"""The lab's own small clients of the agent and of QMP.

They share nothing with the product on purpose: what they find out is evidence about it.
"""

import itertools
import json
import os
import socket
import time
from pathlib import Path
from typing import Any

from tests.lab.waiting import PATIENCE, LabError, LabTimeout

_sync_ids = itertools.count(os.getpid() << 20)


class WireError(LabError):
    """The peer answered with an error object; `reply` holds it."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(f"{reply.get('class')}: {reply.get('desc')}")
        self.reply = reply


class _Wire:
    """JSON lines over a unix socket, with one deadline for the whole conversation."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._deadline = time.monotonic() + timeout
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> "_Wire":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message: dict[str, Any], prefix: bytes = b"") -> None:
        self._socket.sendall(prefix + json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """Return the next JSON object; what is before a 0xFF is dropped."""
        while b"\n" not in self._buffer:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise LabTimeout(f"no answer on {self._path}")
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(65536)
            except TimeoutError as error:
                raise LabTimeout(f"no answer on {self._path}") from error
            if not received:
                raise LabError(f"{self._path} was closed")
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        message: dict[str, Any] = json.loads(line.rpartition(b"\xff")[2] or b"{}")
        return message

    def ask(self, command: str, arguments: dict[str, Any] | None) -> Any:
        """Send a command and return its result; events on the way are dropped."""
        self.send({"execute": command} | ({"arguments": arguments} if arguments else {}))
        while True:
            message = self.receive()
            if "error" in message:
                raise WireError(message["error"])
            if "return" in message:
                return message["return"]


def ask_agent(path: Path, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
    """Have one conversation with an agent: connect, synchronise, ask, close. `timeout` (seconds) is for all of it."""
    with _Wire(path, timeout) as wire:
        sync_id = next(_sync_ids)
        wire.send({"execute": "guest-sync-delimited", "arguments": {"id": sync_id}}, prefix=b"\xff")
        while wire.receive().get("return") != sync_id:
            pass
        return wire.ask(command, arguments)


def listens(path: Path) -> bool:
    """Tell whether somebody listens on a socket: QEMU makes its file a moment before it does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def ask_qmp(path: Path, command: str, arguments: dict[str, Any] | None = None, timeout: float = PATIENCE) -> Any:
    """Have one conversation with a QMP monitor. `timeout` (seconds) is for all of it."""
    with _Wire(path, timeout) as wire:
        wire.ask("qmp_capabilities", None)
        return wire.ask(command, arguments)
