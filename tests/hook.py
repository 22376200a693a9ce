"""The guest's freeze hook, run on this host as the agent would run it in a guest."""

import os
import subprocess
from pathlib import Path

CONFIG = Path(__file__).parents[1] / "config"


class Hook:
    """The hook in a folder of its own, with scripts."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        self.scripts = folder / "fsfreeze-hook.d"
        self.scripts.mkdir()
        self.program = folder / "fsfreeze-hook"
        self.program.write_bytes((CONFIG / "fsfreeze-hook").read_bytes())
        self.program.chmod(0o755)
        self.environment = {**os.environ, "QUIESCE_HOOK_STATE": str(self.state), "QUIESCE_HOOK_LIMIT": "20"}

    def script(self, name: str, body: str = "") -> None:
        """A script that notes how it is called; `body` follows."""
        path = self.scripts / name
        path.write_text(f'#!/bin/sh\necho "{name} $1" >>{self.folder}/calls\n{body}\n')
        path.chmod(0o755)

    def ship(self, name: str) -> None:
        """One of the scripts that we ship."""
        path = self.scripts / name
        path.write_bytes((CONFIG / "fsfreeze-hook.d" / name).read_bytes())
        path.chmod(0o755)

    def __call__(self, word: str) -> int:
        """Run it as the agent does, and return its exit status."""
        return subprocess.run([self.program, word], env=self.environment, timeout=60, check=False).returncode

    def calls(self) -> list[str]:
        """How the scripts that note it were called."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def report(self) -> str:
        """What it left for the host to read."""
        return (self.state / "report").read_text()

    def log(self) -> str:
        """What it left for whoever wants to know why."""
        return (self.state / "log").read_text()
