"""Every command can be used by who has read its help, and the shell knows the names of the configuration."""

from collections.abc import Iterator

import pytest
from typer._completion_classes import BashComplete
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from orchestrator.cli import make_app
from tests.unit.cli.stub import Stub, quiesce


def commands(command: object, *words: str) -> Iterator[tuple[tuple[str, ...], TyperCommand | TyperGroup]]:
    """All commands and groups, with the words that call them."""
    assert isinstance(command, TyperCommand | TyperGroup)
    yield words, command
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            yield from commands(child, *words, name)


EVERY = dict(commands(get_command(make_app(Stub()))))


def test_all_commands_are_found() -> None:
    leaves = [words for words, command in EVERY.items() if isinstance(command, TyperCommand)]
    assert len(leaves) > 40
    assert {("run",), ("db", "upgrade"), ("notices", "test"), ("agent", "ping")} <= set(leaves)


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_its_help_says_what_it_does_and_what_each_word_means(words: tuple[str, ...]) -> None:
    command = EVERY[words]
    assert command.help is not None
    assert command.help.split("\n\n")[0].endswith(".")
    for parameter in command.params:
        assert isinstance(parameter, TyperArgument | TyperOption)
        assert parameter.help, f"{parameter.name} has no help"


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["notices", "test", "--help"]], ids=" ".join)
def test_it_is_shown(words: list[str]) -> None:
    ended = quiesce(Stub(), *words)
    assert ended.exit_code == 0
    assert ended.stdout.startswith("Usage: ")


def completed(*words: str) -> list[str]:
    """What the shell offers for the last of these words."""
    stub = Stub()
    complete = BashComplete(get_command(make_app(stub)), {"obj": stub}, "quiesce", "_QUIESCE_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["run", ""], ["nightly"]),
        (["run", "x"], []),
        (["history", "--machine", "db"], ["db1"]),
        (["thaw", ""], ["db1"]),
        (["pause", "job", ""], ["nightly"]),
        (["pause", "machine", ""], ["db1"]),
        (["agent", "d"], ["db1"]),
        (["resu"], ["resume"]),
    ],
)
def test_the_shell_completes_names(words: list[str], offered: list[str]) -> None:
    assert completed(*words) == offered
