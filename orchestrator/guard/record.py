"""The guard's memory: a file for each machine that it is armed for, with a line for each step that it took there.

The orchestrator makes the file when it arms and removes it when it releases. Recovery writes into it when the machine
is thawed, and removes it when the journal has what it says: in between it may die, or never hear that the journal has
it. So a guard knows from its file whether it is needed. The file is also a lock: whoever thaws for a dead process holds
it, be that the guard or recovery, so that neither thaws into what the other does.
"""

import fcntl
import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from orchestrator.clock import Deadline
from orchestrator.model import Action, FreezeStatus, Outcome, Step, Way

#: No more of a record is read, in bytes. A guard writes a few lines.
LARGEST = 1024 * 1024
#: The line after which no guard is needed.
_DISMISSED = b'"dismissed"'
#: Seconds between two tries to get the lock.
_LOOK = 0.05


def path(folder: Path, run_id: str, machine: str) -> Path:
    """Where the record of one machine in one run is."""
    return folder / f"{quote(run_id, safe='')}.{quote(machine, safe='')}.jsonl"


def create(path: Path) -> None:
    """Make an empty record, and its folder, for their owner alone. Raises OSError.

    Not on the disk when it returns: it need not outlive the host, as no guard does.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)


class Record:
    """An open record."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when there is none, or it may not be used."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)

    @property
    def needed(self) -> bool:
        """Whether the guard still is: nobody has removed the record, or dismissed the guard.

        Asks the open file, so that an unmounted folder does not look like a removed record.
        """
        if os.fstat(self._file).st_nlink == 0:
            return False
        with suppress(OSError):
            return _DISMISSED not in self._lines()
        return True

    def lock(self, deadline: Deadline) -> bool:
        """Be the only one who thaws this machine, from now until `unlock` or the end of this process.

        Returns False when somebody else still was at `deadline`.
        """
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if deadline.passed:
                    return False
            except OSError:  # a file system without locks: to thaw twice is better than not to thaw
                return True
            else:
                return True
            deadline.clock.sleep(min(_LOOK, deadline.remaining()))

    def unlock(self) -> None:
        """Let the next one thaw."""
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def append(self, steps: Sequence[Step]) -> None:
        """Write steps down, on the disk when it returns. Never raises: what was done counts, not that it is known."""
        lines = "".join(json.dumps({**asdict(step), "at": step.at.isoformat()}) + "\n" for step in steps)
        with suppress(OSError):
            # A line of its own, also behind a line that a full disk cut off.
            os.write(self._file, b"\n" + lines.encode())
            os.fsync(self._file)

    def read(self, machine: str) -> tuple[Step, ...]:
        """The steps in it, as the guard's, without lines that a crash or a full disk has spoilt. Raises OSError."""
        return tuple(step for line in self._lines() if (step := _step(line, machine)) is not None)

    def dismiss(self) -> None:
        """Let no guard thaw the machine any more; what is written stays. Never raises."""
        with suppress(OSError):
            os.write(self._file, b"\n" + _DISMISSED + b"\n")

    def remove(self) -> None:
        """Remove it; its lock stays until `close`. Never raises."""
        with suppress(OSError):
            self.path.unlink()

    def close(self) -> None:
        """Let go of the file, and of its lock."""
        os.close(self._file)

    def _lines(self) -> list[bytes]:
        return os.pread(self._file, LARGEST, 0).split(b"\n")


def _step(line: bytes, machine: str) -> Step | None:
    """The step in a line, or None when there is none that a guard can have taken."""
    try:
        document = json.loads(line)
        action, outcome = Action(document["action"]), Outcome(document["outcome"])
        error, took = document["error"], document["duration_ms"]
        return Step(
            machine=machine,
            action=action,
            outcome=outcome,
            at=datetime.fromisoformat(document["at"]).astimezone(UTC),
            monotonic=_finite(document["monotonic"]),
            duration_ms=None if took is None else _finite(took),
            figures=_figures(action, outcome, document["figures"]),
            error=None if error is None else str(error).encode().decode(),  # half a character cannot be stored
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _figures(action: Action, outcome: Outcome, told: dict[str, Any]) -> dict[str, Any]:
    """What the guard may have learnt, and nothing else. Raises ValueError for what it cannot have done."""
    figures: dict[str, Any] = {"by": "guard"}
    if action not in {Action.THAW, Action.CONFIRM} or outcome is Outcome.INTENT:
        raise ValueError(action)
    if "way" in told:
        figures["way"] = Way(told["way"])
    if "status" in told:
        figures["status"] = FreezeStatus(told["status"])
    if action is Action.THAW and outcome is Outcome.DONE:
        figures["thawed"] = told["thawed"]
        if type(figures["thawed"]) is not int or figures["thawed"] < 0:
            raise ValueError(told)
    return figures


def _finite(number: Any) -> float:
    if not math.isfinite(number):
        raise ValueError(number)
    return float(number)
