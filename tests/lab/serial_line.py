"""The way into a guest that works while its file systems are frozen: scripts over the serial line.

The other end is guest/serve.c. Each script runs in the background there, so any number may be under way at once, and
one that hangs on a frozen file system only costs its own time-out.
"""

import base64
import contextlib
import itertools
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.waiting import PATIENCE, LabError, LabTimeout, wait_for

READY = "LAB-READY"


@dataclass(frozen=True)
class Answer:
    """How a script ended in the guest; `output` holds what it wrote to standard output and error."""

    status: int
    output: str


class SerialLine:
    """One connection to a guest's serial line; safe to use from several threads."""

    def __init__(self, path: Path, timeout: float = PATIENCE) -> None:
        """Connect, waiting up to `timeout` seconds for the socket to be there."""
        self._socket = wait_for(lambda: _connect(path), timeout, f"the serial line {path}")
        self._numbers = itertools.count(1)
        self._news = threading.Condition()
        self._answers: dict[str, Answer] = {}
        self._given_up: set[str] = set()
        self._ready = False
        self._closed = False
        self._writing = threading.Lock()
        threading.Thread(target=self._listen, name=f"serial {path}", daemon=True).start()

    def wait_ready(self, timeout: float) -> None:
        """Wait until the guest has booted and serves the line."""
        deadline = time.monotonic() + timeout
        with self._news:
            self._news.wait_for(lambda: self._ready or self._closed, deadline - time.monotonic())
            if not self._ready:
                raise LabTimeout(f"the guest did not boot within {timeout:g} s" if not self._closed else "it died")

    def start(self, script: str) -> str:
        """Send a script and return its id at once, for `wait`."""
        number = str(next(self._numbers))
        request = f"{number} {base64.b64encode(script.encode()).decode()}\n"
        with self._writing:
            try:
                self._socket.sendall(request.encode())
            except OSError as error:
                raise LabError(f"the serial line is closed: {error}") from error
        return number

    def wait(self, number: str, timeout: float) -> Answer:
        """Return a script's answer; LabTimeout when there is none after `timeout` seconds (it goes on, unheard)."""
        with self._news:
            self._news.wait_for(lambda: number in self._answers or self._closed, timeout)
            if number in self._answers:
                return self._answers.pop(number)
            if self._closed:
                raise LabError("the serial line was closed: the guest has gone")
            self._given_up.add(number)
        raise LabTimeout(f"no answer over the serial line within {timeout:g} s")

    def close(self) -> None:
        """Close the connection; whoever waits is told."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        """Read lines until the guest goes; the only reader."""
        pending = b""
        while True:
            try:
                received = self._socket.recv(65536)
            except OSError:
                received = b""
            if not received:
                break
            *lines, pending = (pending + received).split(b"\n")
            for line in lines:
                self._take(line.decode(errors="replace").strip())
        with self._news:
            self._closed = True
            self._news.notify_all()

    def _take(self, line: str) -> None:
        """Take note of one line from the guest; what is no answer is the firmware's chatter."""
        words = line.split()
        with self._news:
            if line.endswith(READY):
                self._ready = True
            elif len(words) in {2, 3} and words[0].startswith("@"):
                number = words[0][1:]
                if number in self._given_up:
                    self._given_up.discard(number)
                else:
                    output = base64.b64decode(words[2]).decode(errors="replace") if len(words) == 3 else ""
                    self._answers[number] = Answer(int(words[1]), output)
            self._news.notify_all()


def _connect(path: Path) -> socket.socket | None:
    """Return a connection to a unix socket, or None when nobody listens yet."""
    attempt = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        attempt.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        attempt.close()
        return None
    return attempt
