"""The command line as a process: signals, terminals and pipes, while a guest is frozen."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from orchestrator.cli.interrupt import STILL_THAWING, STOPPING
from tests.unit.cli.program import FLOOD

ROOT = Path(__file__).parents[3]
#: The program, interrupted in the middle of its imports.
SIGNALLED = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "orchestrator.model":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from orchestrator.start import main
main()
"""


@contextmanager
def quiesce(*arguments: str, stdout: int = subprocess.PIPE, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """The program. It is killed when the test did not bring it to its end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.unit.cli.program", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline().rstrip("\n")


def let_thaw(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def thaw(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Let the guest be thawed; return all that the program still said, on both streams, to its end.

    Not by `communicate`, which would pass over what `line` has read ahead.
    """
    let_thaw(process)
    assert process.stderr is not None
    said = process.stdout.read() if process.stdout is not None else ""
    told = process.stderr.read()
    process.wait()
    return said, told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_to_stop_and_no_signal_abandons_the_guest(number: signal.Signals) -> None:
    with quiesce("run", "nightly") as process:
        assert line(process.stderr) == "frozen"

        process.send_signal(number)
        assert line(process.stderr) == "asked to stop"
        assert line(process.stderr) == STOPPING
        process.send_signal(number)
        assert line(process.stderr) == STILL_THAWING
        process.send_signal(signal.SIGTERM)
        assert line(process.stderr) == STILL_THAWING
        said, told = thaw(process)

    assert process.returncode == 1
    assert "state=cancelled" in said
    assert told.startswith("thawed\nCANCELLED db1: it was enough. The guest is thawed.")


def test_a_hangup_that_nohup_ignores_stays_ignored() -> None:
    with quiesce("run", "nightly", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) as process:
        assert line(process.stderr) == "frozen"

        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert [line(process.stderr), line(process.stderr)] == ["asked to stop", STOPPING]
        _, told = thaw(process)

    assert told.startswith("thawed\n")


def test_nothing_halts_the_program_while_the_guest_is_frozen() -> None:
    with quiesce("run", "nightly") as process:
        assert line(process.stderr) == "frozen"

        status = Path(f"/proc/{process.pid}/status").read_text()
        ignored = int(next(entry for entry in status.splitlines() if entry.startswith("SigIgn")).split()[1], 16)
        thaw(process)

    assert ignored & 1 << (signal.SIGTSTP - 1)
    assert ignored & 1 << (signal.SIGTTOU - 1)


def test_a_reader_who_does_not_read_does_not_delay_the_thaw() -> None:
    with quiesce("run", "flood") as process:
        assert line(process.stderr) == "frozen"
        let_thaw(process)
        assert line(process.stderr) == "thawed"

        assert process.stdout is not None
        kinds = [entry.split()[0] for entry in process.stdout]

    assert kinds == ["step"] * FLOOD + ["run", "target"]


def test_a_held_terminal_does_not_delay_the_thaw() -> None:
    controller, terminal = pty.openpty()
    with quiesce("run", "flood", stdout=terminal) as process:
        assert line(process.stderr) == "frozen"
        let_thaw(process)
        assert line(process.stderr) == "thawed"  # and nobody has read a byte from the terminal
        assert process.poll() is None
    os.close(controller)
    os.close(terminal)


def test_a_terminal_that_goes_away_changes_nothing() -> None:
    controller, terminal = pty.openpty()
    with quiesce("run", "nightly", stdout=terminal) as process:
        os.close(terminal)
        assert line(process.stderr) == "frozen"
        os.close(controller)
        _, told = thaw(process)

    assert (process.returncode, told) == (0, "thawed\n")


def test_a_signal_is_heard_and_the_guest_thawed_when_the_terminal_is_gone() -> None:
    controller, terminal = pty.openpty()
    with quiesce("run", "flood", stdout=terminal) as process:
        os.close(terminal)
        assert line(process.stderr) == "frozen"
        os.close(controller)
        process.send_signal(signal.SIGHUP)
        assert line(process.stderr) == "asked to stop"
        _, told = thaw(process)

    assert process.returncode == 1
    assert "thawed\n" in told
    assert "CANCELLED db1: it was enough. The guest is thawed." in told


@pytest.mark.parametrize("arguments", [["run", "nightly"], ["history"], ["history", "--json"]])
def test_a_broken_pipe_ends_quietly(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with quiesce(*arguments, stdout=writer) as process:
        os.close(writer)
        _, told = thaw(process)

    assert (process.returncode, told) == (0, "frozen\nthawed\n" if "run" in arguments else "")


@pytest.mark.parametrize("arguments", [["history"], ["history", "--json"], ["agent", "db1", "exec", "ls"]])
def test_a_result_that_could_not_be_written_is_a_failure(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full, quiesce(*arguments, stdout=full.fileno()) as process:  # noqa: PTH123
        _, told = thaw(process)

    assert (process.returncode, told) == (1, "quiesce: standard output: No space left on device\n")


def test_help_that_could_not_be_written_is_a_failure_and_no_defect() -> None:
    command = [sys.executable, "-c", "from orchestrator.start import main; main()", "--help"]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, cwd=ROOT, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, "quiesce: standard output: No space left on device\n")


@pytest.mark.parametrize("ignored", [False, True])
def test_a_signal_before_the_program_is_loaded_ends_it_without_a_word(ignored: bool) -> None:
    def before() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL)

    command = [sys.executable, "-c", SIGNALLED, "--help"]
    ended = subprocess.run(command, preexec_fn=before, capture_output=True, cwd=ROOT, text=True, check=False)
    assert (ended.returncode, ended.stderr, bool(ended.stdout)) == (0 if ignored else -signal.SIGINT, "", ignored)


def test_without_a_standard_output_the_work_is_done() -> None:
    with quiesce("run", "nightly", preexec_fn=lambda: os.close(1)) as process:
        _, told = thaw(process)

    assert (process.returncode, told) == (0, "frozen\nthawed\n")


def test_a_locale_without_unicode_gets_codes() -> None:
    with quiesce("history", env={**os.environ, "PYTHONIOENCODING": "ascii"}) as process:
        said, _ = thaw(process)

    assert process.returncode == 0
    assert 'error="no caf\\xe9"' in said
