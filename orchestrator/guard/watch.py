"""The guard's own end: what it is armed for, and when it is needed."""

import math
import os
import select
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.clock import Clock
from orchestrator.guard.record import Record
from orchestrator.guard.wire import LONGEST, Arm, Armed, Expect, Key, Message, Release, Within, decode, encode
from orchestrator.model import Machine
from orchestrator.ports import Agent

#: Seconds past the end of a phase after which its orchestrator counts as hung: more than a busy host is late.
SLACK = 1.5


@dataclass
class Charge:
    """A machine that the guard is armed for."""

    run: str
    machine: Machine
    agent: Agent
    record: Record
    #: Monotonic time, in seconds, until which the orchestrator's present phase lasts; None: it has no limit.
    at: float | None = None
    #: The guest has answered the freeze: it cannot land later.
    answered: bool = False


class Watch:
    """What the guard knows. It makes the way to a machine when it is armed: later there may be no time, or no files."""

    def __init__(self, clock: Clock, agent: Callable[[Machine], Agent]) -> None:
        self._clock, self._agent = clock, agent
        self.charges: dict[Key, Charge] = {}

    def hear(self, message: Message) -> Armed | None:
        """Take a message of the orchestrator, and return the answer to it if it wants one."""
        match message:
            case Expect(machine):
                with suppress(Exception):  # which whoever arms is told
                    self._agent(machine).close()
            case Arm():
                return Armed(message.key, self._arm(message))
            case Within(key, at, answered) if key in self.charges:
                self.charges[key].at, self.charges[key].answered = at, answered
            case Release(key) if key in self.charges:
                charge = self.charges.pop(key)
                charge.agent.close()
                charge.record.close()
        return None

    def patience(self) -> float | None:
        """Seconds until the orchestrator counts as hung: 0 when it does, None when it cannot."""
        ends = [charge.at for charge in self.charges.values() if charge.at is not None]
        return max(0.0, min(ends) + SLACK - self._clock.monotonic()) if ends else None

    def _arm(self, message: Arm) -> str | None:
        try:
            agent, record = self._agent(message.machine), Record(Path(message.record))
        except Exception as error:  # noqa: BLE001 - whatever a library does when it is loaded
            return f"{type(error).__name__}: {error}"
        self.charges[message.key] = Charge(message.run, message.machine, agent, record)
        return None


def until_needed(watch: Watch, link: socket.socket, orchestrator: int) -> list[Charge]:
    """Serve the orchestrator until it ends, or hangs, and return what is to be thawed.

    `link` is the socket to it, `orchestrator` its pidfd. One that hangs has been sent SIGKILL when this returns: it
    would keep the agent's socket, which serves one client at a time.
    """
    poll = select.poll()
    poll.register(link, select.POLLIN)
    while True:
        patience = watch.patience()
        poll.poll(None if patience is None else math.ceil(patience * 1000))
        if not _serve(watch, link):  # all that was said, before it is judged by it
            break
        if watch.patience() == 0.0:
            with suppress(OSError):  # it has ended meanwhile
                signal.pidfd_send_signal(orchestrator, signal.SIGKILL)
            break
    return list(watch.charges.values())


def _serve(watch: Watch, link: socket.socket) -> bool:
    """Work off what has been said, without waiting for more. False when the orchestrator has ended."""
    while True:
        try:
            packet = link.recv(LONGEST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except ConnectionResetError:  # it ended without reading an answer; what it had said before is still to be read
            continue
        if not packet:
            return False
        with suppress(ValueError, OSError):  # of another version; or it has ended meanwhile, which the next look tells
            answer = watch.hear(decode(packet))
            if answer is not None:
                link.send(encode(answer), socket.MSG_DONTWAIT)


def peer(link: socket.socket) -> int:
    """A pidfd of the process that made the socket pair. Raises ProcessLookupError when it has ended already."""
    pid = int.from_bytes(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), "little")
    return os.pidfd_open(pid)
