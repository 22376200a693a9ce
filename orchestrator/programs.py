"""Running a program that may hang, flood, or leave children behind: none of that reaches the caller."""

import contextlib
import math
import os
import select
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.clock import Deadline, Stop
from orchestrator.errors import OutcomeUnknown, Rejected

#: Bytes of output that are kept: the last ones, because a program's last words say why it failed.
OUTPUT_LIMIT = 16 * 1024
#: Milliseconds for the kernel to carry out a SIGKILL. A process in an uninterruptible system call is left behind.
KILL_LIMIT_MS = 1000
#: More than a pipe holds, so that one read empties it.
_READ_SIZE = 1024 * 1024


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    #: Its exit status; below 0 the number of the signal that ended it, as in `subprocess`.
    status: int
    #: The end of what it wrote on standard output and standard error together.
    output: str


def run(
    arguments: Sequence[str],
    deadline: Deadline,
    environment: Mapping[str, str] | None = None,
    keep: int = OUTPUT_LIMIT,
    stop: Stop | None = None,
) -> Ended:
    """Run a program, without a shell and without input, until it ends.

    It is given `environment`, or ours; the last `keep` bytes of its output are kept. It has a session of its own, and
    when `deadline` passes, or `stop` is requested, all of its process group is killed. Who only waits for the end of
    the output would wait for every child that inherited it; this waits for the program itself (pidfd_open(2), Linux
    5.3).

    Raises Rejected when it cannot be started, OutcomeUnknown when it was killed.
    """
    try:
        process = subprocess.Popen(  # noqa: S603 - arguments are the operator's or our own, and no shell reads them
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: an argument holds a zero byte
        raise Rejected(f"{arguments[0]} cannot be run: {error}") from error
    assert process.stdout is not None
    end = os.pidfd_open(process.pid)
    stopped = os.eventfd(0, os.EFD_CLOEXEC)
    try:
        with (stop or Stop()).calling(lambda: os.eventfd_write(stopped, 1)):
            output = _follow(end, process.stdout.fileno(), stopped, deadline, keep)
        if _wait(end, 0):
            return Ended(process.wait(), _text(output))
        why = "did not end in time" if deadline.passed else "was not waited for any longer"
        raise OutcomeUnknown(f"{arguments[0]} {why} and was killed{_quoted(output)}")
    finally:
        if process.returncode is None:
            _kill_group(process, end)
        os.close(end)
        os.close(stopped)
        process.stdout.close()  # not before: a program that still writes would be ended by that


def _follow(end: int, pipe: int, stopped: int, deadline: Deadline, keep: int) -> bytes:
    """Read until the program has ended, `deadline` has passed, or `stopped` can be read.

    Returns the last `keep` bytes of what it wrote.
    """
    os.set_blocking(pipe, False)
    waiting = select.poll()
    waiting.register(end, select.POLLIN)
    waiting.register(pipe, select.POLLIN)
    waiting.register(stopped, select.POLLIN)
    output = b""
    over = False
    while not over:
        ready = [source for source, _ in waiting.poll(math.ceil(deadline.remaining() * 1000))]
        over = end in ready or stopped in ready or deadline.passed
        with contextlib.suppress(BlockingIOError):
            chunk = os.read(pipe, _READ_SIZE)
            output = (output + chunk)[-keep:]
            if not chunk and pipe in ready:
                waiting.unregister(pipe)
    return output


def _kill_group(process: subprocess.Popen[bytes], end: int) -> None:
    """Kill the program and its children. Until it is waited for, nobody else can have its group's number."""
    os.killpg(process.pid, signal.SIGKILL)
    if _wait(end, KILL_LIMIT_MS):
        process.wait()


def _wait(end: int, milliseconds: int) -> bool:
    """Whether the process behind a pidfd has ended, or ends within that time."""
    waiting = select.poll()
    waiting.register(end, select.POLLIN)
    return bool(waiting.poll(milliseconds))


def _text(output: bytes) -> str:
    return output.decode(errors="replace").strip()


def _quoted(output: bytes) -> str:
    return f"; it said: {_text(output)}" if output else ""
