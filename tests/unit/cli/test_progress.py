"""How far a long step is, as lines and on a terminal."""

import io

from orchestrator.cli.plain import Plain
from orchestrator.cli.streams import Stream
from orchestrator.model import Action, Outcome, Step
from tests.unit.cli.stub import AT

INTENT = Step("db1", Action.COPY, Outcome.INTENT, AT, 1.0)


def at(percent: int, left: int | None = 90) -> Step:
    figures = {
        "percent": percent,
        "bytes": percent << 20,
        "total_bytes": 100 << 20,
        "bytes_per_second": 3 << 19,
        "seconds_left": left,
    }
    return Step("db1", Action.COPY, Outcome.INTENT, AT, 1.0, figures=figures)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_tell_each_percent_once() -> None:
    written = io.StringIO()
    with Plain(Stream(written)).following() as show:
        for step in (INTENT, at(0), at(0), at(1), at(1), at(2)):
            show(step)

    lines = written.getvalue().splitlines()
    assert [word for line in lines for word in line.split() if word.startswith("percent")] == [
        "percent=0",
        "percent=1",
        "percent=2",
    ]
    assert len(lines) == 4
    assert lines[-1].endswith("bytes=2097152 total_bytes=104857600 bytes_per_second=1572864 seconds_left=90")


def test_a_terminal_shows_the_rate_and_the_time_that_is_left() -> None:
    from orchestrator.cli.screen import Screen

    written = Terminal()
    with Screen(Stream(written)).following() as show:
        show(at(42))
        show(Step("db1", Action.COPY, Outcome.FAILED, AT, 1.0, error="no space left on device"))

    assert "db1 copy 42 % at 1.5 MiB/s, 0:01:30 left" in written.getvalue()
