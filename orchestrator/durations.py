"""Durations as people write them: `500ms`, `30s`, `5m`, `1h`, `7d`."""

import re

_TEXT = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """The seconds that `text` names. Raises ValueError when it names none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration: {text}")
    return int(match[1]) * _SECONDS[match[2]]
