"""Rates as people write them: `800KiB/s`, `50MiB/s`, `1GiB/s`."""

import re

_TEXT = re.compile(r"([1-9][0-9]{0,5})(KiB|MiB|GiB)/s")
_BYTES = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def bytes_per_second(text: str) -> int:
    """The bytes per second that `text` names. Raises ValueError when it names none."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(f"not a rate: {text}")
    return int(match[1]) * _BYTES[match[2]]
