"""The product as its users have it: the installed command, a configuration file, and what comes out.

Nothing of `orchestrator` is imported here. What is known about a guest is asked over its serial line, and what is known
about a run is what the command says.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import Guest, LibvirtGuest

COMMAND = Path(sys.executable).with_name("quiesce")
#: Seconds after which a command is taken for hung.
PATIENCE = 60.0

Document = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it wrote with `--json`; fails unless that is one document in ASCII and nothing else."""
        assert self.out.isascii()
        return json.loads(self.out)

    @property
    def run(self) -> Document:
        """The document of a run."""
        found: Document = self.document
        return found


class Running:
    """A command that was started and has not been waited for."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], folder: Path, command: Path) -> None:
        self._process = subprocess.Popen(
            [command, *words],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Its own session: a script that it leaves behind is not the test's, and a signal to it not ours.
            start_new_session=True,
        )
        out, err = self._process.stdout, self._process.stderr
        assert out is not None
        assert err is not None
        self._out, self._err = out, err
        #: What was read already.
        self._said = {out: "", err: ""}

    @property
    def pid(self) -> int:
        return self._process.pid

    def guards(self) -> list[int]:
        """The process ids of its guards."""
        found = subprocess.run(["pgrep", "-P", str(self.pid), "-f", "guard_main"], capture_output=True, text=True)
        return [int(line) for line in found.stdout.split()]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_said(self, text: str, timeout: float = PATIENCE) -> None:
        """Wait until it has said that, on standard output or standard error."""
        deadline = time.monotonic() + timeout
        while not any(text in said for said in self._said.values()):
            ready, _, _ = select.select(list(self._said), [], [], max(0.0, deadline - time.monotonic()))
            chunks = {pipe: os.read(pipe.fileno(), 65536).decode() for pipe in ready}
            assert any(chunks.values()), f"it never said {text!r}, but: {[*self._said.values()]}"
            for pipe, chunk in chunks.items():
                self._said[pipe] += chunk

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> Ended:
        """Wait for its end. One that is too late is killed, and the test fails with what it had said."""
        try:
            out, err = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            out, err = self._process.communicate()
            raise AssertionError(f"no end after {timeout:g} s\n{out}\n{err}") from None
        return Ended(self._process.returncode, self._said[self._out] + out, self._said[self._err] + err)

    def end(self) -> None:
        """Kill it if it is there, and let go of its output."""
        self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()


class Product:
    """A folder with a configuration and a journal, and the command that uses them."""

    def __init__(self, folder: Path, command: Path = COMMAND) -> None:
        self.folder, self.command = folder, command
        self.file = folder / "quiesce.toml"
        self.journal = folder / "journal.db"
        #: The URL of a journal that is no file.
        self.database: str | None = None
        #: What is added to the environment of each command.
        self.environment: dict[str, str] = {}
        self.api = folder / "api.sock"
        self._tables: dict[str, str] = {
            "hypervisors.local": table("hypervisors.local", uri="qemu:///system"),
            "service": table("service", listen=[f"unix:{self.api}"]),
        }
        self._running: list[Running] = []

    def machine(self, name: str, guest: Guest) -> None:
        """Configure a guest as a machine, by the ways that its form offers."""
        if isinstance(guest, LibvirtGuest):
            self.table("hypervisors.local", uri=guest.uri)
            self.table(f"machines.{name}", hypervisor="local", domain=guest.name)
        else:
            self.table(f"machines.{name}", agent=f"unix:{guest.agent_socket}", qmp=f"unix:{guest.qmp_socket}")

    def job(self, *machines: str, name: str = "job", cut: Sequence[str] = (), **keys: object) -> None:
        """Configure a job over machines: with `cut`, a program that makes the cut; without, by external snapshot."""
        driver = "command" if cut else "external-snapshot"
        keys = {"driver": driver, "hold_limit": "5s", "freeze_timeout": "5s", "thaw_timeout": "10s", **keys}
        self.table(f"jobs.{name}", machines=machines, **keys)
        self._tables.pop(f"jobs.{name}.options", None)
        if cut:
            self.table(f"jobs.{name}.options", cut=cut)

    def table(self, name: str, **keys: object) -> None:
        """Set a table of the configuration file."""
        self._tables[name] = table(name, **keys)
        journal = table("journal", url=self.database or f"sqlite:///{self.journal}")
        self.file.write_text("\n".join([journal, *self._tables.values()]))

    def start(self, *words: str) -> Running:
        """Start a command. It is killed at the end of the test if it has not ended by then."""
        running = Running(["--config", str(self.file), *words], self.environment, self.folder, self.command)
        self._running.append(running)
        return running

    def __call__(self, *words: str, timeout: float = PATIENCE) -> Ended:
        """Carry a command out."""
        return self.start(*words).wait(timeout)

    def run(self, *words: str) -> Ended:
        """Run the job, with `--json`."""
        return self("run", "job", "--json", *words)

    def history(self, *words: str) -> list[Document]:
        """The history."""
        found: list[Document] = self("history", "--json", *words).document
        return found

    def states(self) -> list[str]:
        """The states of the runs in the history, in its order."""
        return [run["state"] for run in self.history()]

    def close(self) -> None:
        """Kill what is still running. The guard of a guest that is gone ends by itself, without its record."""
        for running in self._running:
            running.end()
        for record in self.folder.glob("guard/*.jsonl"):
            record.unlink(missing_ok=True)


def table(name: str, **keys: object) -> str:
    """A table in TOML. JSON's texts, numbers, booleans and arrays of these are TOML's, too."""
    return "".join([f"[{name}]\n", *(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())])


def target(run: Document, machine: str = "vm") -> Document:
    """One target of a run's document."""
    found: Document = next(each for each in run["targets"] if each["machine"] == machine)
    return found


def outcomes(run: Document, machine: str = "vm") -> list[tuple[str, str]]:
    """What was done to a machine and how it ended, in order, without the intents."""
    steps = [step for step in run["steps"] if step["machine"] == machine and step["outcome"] != "intent"]
    return [(step["action"], step["outcome"]) for step in steps]
