"""What is wrong with a configuration, told so that its owner can put it right: where, what stands there, what may."""

import difflib
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ConfigError

#: Where a value stands: names of tables and keys, and positions in arrays.
Location = tuple[str | int, ...]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_TEXT = 80
_MOST_WORDS = 20


@dataclass(frozen=True)
class Problem:
    """One thing that must be changed."""

    location: Location
    #: What is allowed there.
    text: str
    #: The offending value as `shown`; None when the key alone is the problem.
    value: str | None = None

    def __str__(self) -> str:
        value = "" if self.value is None else f" = {self.value}"
        return f"{dotted(self.location)}{value}: {self.text}"


def refusal(source: Path, problems: Iterable[Problem | str]) -> ConfigError:
    """The error that tells all problems of a file, one on each line."""
    return ConfigError("\n".join(f"{source}: {problem}" for problem in problems))


def dotted(location: Location) -> str:
    """A location as TOML writes it, with positions in brackets: `jobs.nightly.machines[0]`."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _bare_or_quoted(part)
    return text


def shown(value: object) -> str:
    """A TOML value on one short line, without control characters."""
    match value:
        case dict():
            return "{...}"
        case list():
            return "[...]"
        case str():
            return _quoted(value)
        case int() if abs(value) >= 2**63:  # TOML has no such integers, and very long ones do not convert to text
            return "a number of more than 64 bits"
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)


def suggestion(word: str, known: Collection[str]) -> str:
    """Which of the known words was meant, or else some of them."""
    if close := difflib.get_close_matches(word, known, n=1):
        return f"did you mean {_quoted(close[0])}?"
    some = [_bare_or_quoted(word) for word in sorted(known)[:_MOST_WORDS]]
    return "known are: " + ", ".join(some) + (", ..." if len(known) > len(some) else "") if some else "none is known"


def _bare_or_quoted(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _quoted(text)


def _quoted(text: str) -> str:
    cut = text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
    return json.dumps(cut)
