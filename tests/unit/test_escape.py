"""Text from a guest on a terminal, in a line and in a document."""

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.screen import Screen
from orchestrator.cli.streams import Stream
from orchestrator.escape import INVISIBLE, escape
from orchestrator.model import Checked, Filesystem, Finding, Flaw, Outcome, State
from tests.unit.cli.stub import FREEZE, READY, RESTORED, VERIFIED, Stub, ended, quiesce

#: Rewrites the title, turns the direction, hides, forges a line and a field, uses markup, and is no valid text.
HOSTILE = '\x1b]0;owned\x07\u202egnp\u3164\u200d\n\rrun state=done\\" state=done [red]x[/red] \x00\x9b2J\ud800 :bomb:'


def screenful() -> tuple[Screen, io.StringIO]:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    written = Terminal()
    return Screen(Stream(written)), written


@given(st.text(st.characters()), st.integers(min_value=3, max_value=50))
def test_only_printable_characters_are_left(text: str, limit: int) -> None:
    escaped = escape(text, limit)

    assert escaped.isprintable() and not set(escaped) & INVISIBLE
    assert len(escaped) <= limit
    assert escape(escaped, limit) == escaped


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="".join(INVISIBLE)), max_size=500))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202e\u2066", "\\u202e\\u2066"),
        ("\ud800", "\\ud800"),
        ("\x00\x7f\x9b", "\\x00\\x7f\\x9b"),
        ("\u2028\ufeff", "\\u2028\\ufeff"),
        ("\u200b\u200d\u034f\u3164", "\\u200b\\u200d\\u034f\\u3164"),
        ("\u2764\ufe0f\U000e0101", "\u2764\\ufe0f\\U000e0101"),
        ("x" * 501, "x" * 497 + "..."),
    ],
)
def test_what_is_shown_by_its_code(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize("arguments", [["run", "nightly"], ["show", "x"], ["history"], ["check"], ["recover"]])
@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_hostile_reaches_a_pipe(arguments: list[str], as_json: bool) -> None:
    step = replace(FREEZE, error=HOSTILE, figures={HOSTILE: HOSTILE})
    report = replace(
        READY, filesystems=(Filesystem(HOSTILE, HOSTILE, HOSTILE),), problems=(HOSTILE,), hazards=(HOSTILE,), os=HOSTILE
    )
    run = replace(ended(State.STUCK, HOSTILE, step), error=HOSTILE)
    stub = Stub(runs=(run,), reports={"db1": report})

    result = quiesce(stub, *arguments, *(["--json"] if as_json else []))

    lines = result.stdout.split("\n") + result.stderr.split("\n")
    assert all(line.isprintable() and not set(line) & INVISIBLE for line in lines)
    assert not any(line.startswith("run state=done") for line in lines)


def test_a_document_carries_hostile_text_unchanged() -> None:
    result = quiesce(Stub(runs=(ended(State.FAILED, HOSTILE),)), "show", "x", "--json")

    assert result.stdout.isascii()
    assert json.loads(result.stdout)["targets"][0]["error"] == HOSTILE


def test_a_quoted_value_cannot_be_left() -> None:
    stub = Stub(runs=(ended(State.FAILED, 'x" state=done \\" state=done'),))

    result = quiesce(stub, "show", "x")

    (target,) = (line for line in result.stdout.splitlines() if line.startswith("target"))
    assert json.loads(target.partition(" error=")[2]) == 'x" state=done \\" state=done'


def test_nothing_hostile_reaches_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "2000")
    screen, written = screenful()
    step = replace(FREEZE, machine=HOSTILE, error=HOSTILE)
    run = replace(ended(State.STUCK, HOSTILE, step), error=HOSTILE)

    with screen.following() as show:
        show(replace(step, outcome=Outcome.INTENT))
        show(step)
    screen.run(run)
    screen.runs([run])
    screen.checked([Checked(HOSTILE, (Finding(Flaw.STRAY, HOSTILE, HOSTILE),))])
    screen.restored(replace(RESTORED, backup=replace(RESTORED.backup, machine=HOSTILE), domain=HOSTILE))
    filesystem = replace(VERIFIED.filesystems[0], disk=HOSTILE, type=HOSTILE)
    screen.verified(replace(VERIFIED, backup=replace(RESTORED.backup, machine=HOSTILE), filesystems=(filesystem,)))
    screen.health([replace(READY, filesystems=(Filesystem(HOSTILE, "", ""),), problems=(HOSTILE,))])

    shown = written.getvalue()
    assert shown.count("\\x1b]0;owned\\x07\\u202egnp") >= 12
    assert shown.count("[red]x[/red]") >= 12
    assert shown.count(":bomb:") >= 12
    assert not {*"\x07\u202e\u200d\x9b\x00\ud800", *INVISIBLE} & set(shown)
    assert "\x1b]" not in shown


def test_a_terminal_shows_what_is_being_done() -> None:
    screen, written = screenful()

    with screen.following() as show:
        show(replace(FREEZE, outcome=Outcome.INTENT))
    doing = written.getvalue()
    with screen.following() as show:
        show(FREEZE)
    done = written.getvalue().removeprefix(doing)

    assert "db1 freeze" in doing
    assert "12.3 ms" not in doing
    assert "12.3 ms" in done


def test_a_service_without_steps_draws_nothing() -> None:
    screen, written = screenful()

    with screen.following():
        pass

    assert written.getvalue() == ""


def test_a_terminal_shows_a_stuck_run_in_capitals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    screen, written = screenful()

    screen.runs([ended(State.STUCK, "no answer")])

    assert "STUCK" in written.getvalue()
    assert "20250102-030405-abcdef" in written.getvalue()
