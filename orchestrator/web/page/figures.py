"""Durations and times as a person reads them."""

from datetime import UTC, datetime

_MINUTE = 60
_UNITS = ("d", 86400), ("h", 3600), ("min", _MINUTE)


def duration(milliseconds: float | None) -> str:
    """With three digits that count, in the unit that suits; nothing for None."""
    if milliseconds is None:
        return ""
    if milliseconds < 999.5:
        return f"{_digits(milliseconds)} ms" if milliseconds >= 1 else f"{milliseconds:.2g} ms"
    seconds = milliseconds / 1000
    if seconds < 99.95:
        return f"{_digits(seconds)} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    return f"{minutes} min {rest:02} s" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02} min"


def round_duration(milliseconds: float) -> str:
    """One that is a round number, as it stands at a scale."""
    for unit, length in (("min", 60_000), ("s", 1000)):
        if milliseconds >= 2 * length or (unit == "s" and milliseconds >= length):
            return f"{milliseconds / length:.3g} {unit}"
    return f"{milliseconds:.3g} ms" if milliseconds else "0"


def _digits(value: float) -> str:
    return f"{value:#.3g}".rstrip(".")


def at(time: datetime) -> str:
    """In UTC, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def iso(time: datetime) -> str:
    """In UTC, for machines, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(time: datetime, now: datetime) -> str:
    """How long before or after `now`, in the largest unit of which it is at least two."""
    seconds = round((now - time).total_seconds())
    size = abs(seconds)
    unit, length = next(((unit, length) for unit, length in _UNITS if size >= 2 * length), ("s", 1))
    words = f"{size // length} {unit}"
    return f"{words} ago" if seconds >= 0 else f"in {words}"
