"""What is sent into guests is for whichever shell they have as /bin/sh."""

import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

import orchestrator

SCRIPTS = sorted(Path(orchestrator.__file__).parent.rglob("*.sh"))
FUSE = Path(orchestrator.__file__).parent / "fuse" / "guest.sh"
#: What a fuse does that never burns.
STAND_IN = "trap 'kill $!; exit' URG; sleep 600 & echo lit; wait"
#: A process has ended between the look at which there are and the look at what they are.
ENDED = 'grep() { command grep "$@" /proc/ended/cmdline; }\n'


@pytest.fixture(params=["dash", "busybox sh", "bash --posix"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    words: list[str] = request.param.split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"no {words[0]} here")
    return words


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.parent.name}/{script.name}")
def test_it_can_be_read(shell: list[str], script: Path) -> None:
    checked = subprocess.run([*shell, "-n", str(script)], capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.mark.parametrize("meanwhile", ["", ENDED], ids=["", "while another process ends"])
def test_a_fuse_is_found_by_its_run_and_put_out(shell: list[str], meanwhile: str) -> None:
    run = f"20260101-000000-{secrets.token_hex(6)}"
    out = [*shell, "-c", meanwhile + FUSE.read_text(), "quiesce-fuse", "out", run]
    with subprocess.Popen([*shell, "-c", STAND_IN, f"quiesce-fuse-{run}"], stdout=subprocess.PIPE) as fuse:
        try:
            assert fuse.stdout is not None
            assert fuse.stdout.readline() == b"lit\n"
            assert subprocess.run(out, capture_output=True, check=True).stdout == b"1\n"
            fuse.wait(30)
        finally:
            fuse.kill()
    assert subprocess.run(out, capture_output=True, check=True).stdout == b"0\n"
