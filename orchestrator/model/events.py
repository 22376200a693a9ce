"""What is written into the journal about runs, as it is followed live."""

from dataclasses import dataclass

from orchestrator.model.runs import Run, Step

#: The most that a database counts to.
_LAST = 2**63 - 1


@dataclass(frozen=True, order=True)
class Position:
    """A place in the feed of events. What is written later has a later one, whatever process writes it."""

    turn: int
    number: int

    def __str__(self) -> str:
        return f"{self.turn}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Position":
        """The position that `str` wrote. Raises ValueError."""
        words = text.split("-")
        if len(words) != 2 or any(not (word.isascii() and word.isdecimal() and len(word) < 20) for word in words):
            raise ValueError(f"{text[:80]!r} is no position in the feed of events")
        turn, number = map(int, words)
        return cls(min(turn, _LAST), min(number, _LAST))


@dataclass(frozen=True)
class Event:
    """Something was written about a run."""

    at: Position
    #: As it is now, without its steps.
    run: Run
    #: The steps that were written.
    steps: tuple[Step, ...]
