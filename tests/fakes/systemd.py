"""A host that systemd has booted, as far as the start of a guard can see."""

import os
from pathlib import Path

import pytest

from orchestrator.guard import process


@pytest.fixture
def systemd_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for `systemd-run`, first on the path of a service. It notes its arguments in `asked`, and leaves
    standard input alone, as the real one does with `--scope`.
    """
    program = tmp_path / "bin" / "systemd-run"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/asked\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(process, "_SYSTEMD", tmp_path)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("INVOCATION_ID", "0" * 32)
    return program
