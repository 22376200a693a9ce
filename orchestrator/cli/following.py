"""Steps, shown while they are made, by a thread of its own.

A step may be made while a guest is frozen. Whoever makes it puts it into a queue and goes on: a terminal that is held
by Ctrl-S, a full pipe or a slow link delays what is shown, and never the thaw.
"""

import threading
from queue import SimpleQueue
from types import TracebackType

from orchestrator.cli.output import Output
from orchestrator.cli.streams import Stream
from orchestrator.model import Step


class Follower:
    """Shows steps on `output` and notes on `notes`. All of them are shown when the `with` block has ended."""

    def __init__(self, output: Output, notes: Stream) -> None:
        self._output, self._notes = output, notes
        self._queue: SimpleQueue[Step | str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._show, name="follower", daemon=True)

    def step(self, step: Step) -> None:
        """Show a step soon. Returns at once."""
        self._queue.put(step)

    def note(self, text: str) -> None:
        """Show a line about the work itself soon. Returns at once."""
        self._queue.put(text)

    def __enter__(self) -> "Follower":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    def _show(self) -> None:
        with self._output.following() as show:
            while (item := self._queue.get()) is not None:
                if isinstance(item, str):
                    self._note(item)
                else:
                    show(item)

    def _note(self, text: str) -> None:
        """On a terminal there may be a ^C, or the step that is being done, on the line already."""
        self._notes.write(("\n" if self._notes.isatty() else "") + text + "\n")
