"""A guest with an agent, on a unix socket: it behaves as qemu-ga 7.2 behind QEMU does, and breaks on demand.

::

    with FakeAgent(tmp_path / "qga.sock", mounts=["/", "/data"]) as guest:
        guest.faults["guest-fsfreeze-thaw"] += [faults.error("busy"), faults.reply_lost()]
        ...
        assert guest.frozen == set()
        assert guest.calls == ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw", "guest-fsfreeze-thaw"]

Like the real thing, it serves one client at a time while others wait in the queue unheard, works on one command at a
time, keeps what it could not deliver for the next client, refuses nearly everything while frozen, and reports as its
frozen state what it believes, not what is true. The contract suite runs on it and on the real agent.
"""

import base64
import itertools
import json
import re
import string
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from orchestrator.model import ExecResult
from tests.fakes.faults import Fault
from tests.fakes.port import Port

SENTINEL = b"\xff"
SYNCS = ("guest-sync", "guest-sync-delimited")
LINUX = {"id": "debian", "name": "Debian GNU/Linux", "version": "12 (bookworm)", "kernel-release": "6.1.0-56-amd64"}
WINDOWS = {"id": "mswindows", "name": "Microsoft Windows", "version": "Microsoft Windows Server 2022"}
ALLOWED_WHILE_FROZEN = {*SYNCS, "guest-ping", "guest-info", "guest-fsfreeze-status", "guest-fsfreeze-thaw"}


#: What a program does with its arguments, and how it ends.
Program = Callable[[Sequence[str]], ExecResult]


class AgentError(Exception):
    """An error that the agent answers."""


class FakeAgent:
    """The guest: its file systems, its agent, and the socket that QEMU offers for it."""

    def __init__(self, path: Path, mounts: Iterable[str] = ("/", "/data")) -> None:
        self.path = path
        #: The mounted file systems.
        self.mounts = list(mounts)
        #: Those that the kernel holds frozen. A test may take some out: thawed by another hand.
        self.frozen: set[str] = set()
        #: What the agent believes; it differs from `frozen` after a thaw by another hand.
        self.believes_frozen = False
        #: Every command that the agent took up, in order, without the syncs.
        self.calls: list[str] = []
        #: How many syncs the agent answered.
        self.syncs = 0
        #: For each command, what goes wrong with its next calls, first come first served.
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        #: Commands that the administrator of the guest forbids (`qemu-ga -b`).
        self.disabled: set[str] = set()
        #: What the agent says is its version.
        self.version = "7.2.22"
        #: What the guest says about its operating system.
        self.system: Mapping[str, str] = LINUX
        #: How a program ends, by its path; None: there is no such program. All others end with 0 and write nothing.
        self.programs: dict[str, ExecResult | Program | None] = {}
        #: Programs that were started, with their arguments.
        self.executed: list[tuple[str, list[str]]] = []
        self._commands: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            "guest-sync": lambda arguments: arguments["id"],
            "guest-sync-delimited": lambda arguments: arguments["id"],
            "guest-ping": lambda _: {},
            "guest-info": self._info,
            "guest-get-osinfo": lambda _: dict(self.system),
            "guest-get-fsinfo": self._fsinfo,
            "guest-fsfreeze-status": lambda _: "frozen" if self.believes_frozen else "thawed",
            "guest-fsfreeze-freeze": lambda _: self._freeze(self.mounts),
            "guest-fsfreeze-freeze-list": lambda arguments: self._freeze(arguments["mountpoints"]),
            "guest-fsfreeze-thaw": self._thaw,
            "guest-exec": self._exec,
            "guest-exec-status": self._exec_status,
        }
        self._processes: list[ExecResult] = []
        self._vss_gave_up = False
        self._changed = threading.Condition()
        self._standing: Fault | None = None
        self._going = threading.Event()
        self._going.set()
        self._port = Port(path)
        self._thread = threading.Thread(target=self._work, name="fake-agent", daemon=True)

    def __enter__(self) -> "FakeAgent":
        self._port.open()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._going.set()
        standing = [self._standing] if self._standing else []
        for fault in itertools.chain(standing, *self.faults.values()):
            fault.release()
        self._port.close()
        self._thread.join(10)

    def wait_for(self, condition: Callable[["FakeAgent"], bool], seconds: float = 10) -> None:
        """Wait until `condition` holds; it is looked at whenever a command begins, takes effect or ends."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), seconds), "it did not happen in time"

    def offer(self, command: str, answer: Callable[[Mapping[str, Any]], Any]) -> None:
        """Let the agent know one more command."""
        self._commands[command] = answer

    def frozen_mounts(self) -> list[str]:
        """The mount points that the kernel holds frozen, as the lab's guests tell them."""
        return [mount for mount in self.mounts if mount in self.frozen]

    def thaw_by_hand(self, mount: str) -> None:
        """Thaw one file system behind the agent's back."""
        self.frozen.discard(mount)

    def lose_hold(self) -> None:
        """Let go by itself, as Windows does after ten seconds: the agent learns of it only when it is to thaw."""
        self.frozen.clear()
        self._vss_gave_up = True

    def stop_agent(self) -> None:
        """Make the agent mute, as SIGSTOP does: it will obey only when it is continued."""
        self._going.clear()

    def cont_agent(self) -> None:
        """Let a mute agent work off what it was told meanwhile."""
        self._going.set()

    def say(self, data: bytes) -> None:
        """Send bytes that nobody asked for."""
        self._port.send([data])

    def disconnect(self) -> None:
        """Close the connection of the client that is there; it can connect again."""
        self._port.disconnect()

    def _work(self) -> None:
        """What the agent does, on its only thread."""
        line = b""
        for data in self._port.received():
            self._going.wait()
            for piece in re.findall(rb"[^\n\xff]+|\n|\xff", data):
                if piece == SENTINEL:
                    line = b""
                    self._port.send([_failure("JSON parse error, stray '\ufffd'")])
                elif piece == b"\n":
                    self._obey(line)
                    line = b""
                else:
                    line += piece

    def _obey(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            name, arguments = request["execute"], request.get("arguments", {})
        except (ValueError, LookupError, TypeError):
            self._port.send([_failure("JSON parse error, invalid keyword")])
            return
        if name in SYNCS:
            self.syncs += 1
        else:
            self.calls.append(name)
        self._carry_out(name, arguments, self.faults[name].popleft() if self.faults[name] else Fault())

    def _carry_out(self, name: str, arguments: Mapping[str, Any], fault: Fault) -> None:
        self._standing = fault
        self._notify()
        fault.before.wait()
        reply = self._run(name, arguments) if fault.effect else b""
        self._notify()
        fault.after.wait()
        if fault.disconnects:
            self._port.disconnect()
        elif fault.replies:
            self._port.send([reply] if fault.instead is None else fault.instead)
        self._standing = None
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        """Carry a command out and return the reply."""
        if name not in self._commands:
            return _failure(f"The command {name} has not been found", "CommandNotFound")
        if name in self.disabled:
            return _failure(f"Command {name} has been disabled: the command is not allowed", "CommandNotFound")
        if self.believes_frozen and name not in ALLOWED_WHILE_FROZEN:
            return _failure(f"Command {name} has been disabled: the agent is in frozen state", "CommandNotFound")
        try:
            reply = json.dumps({"return": self._commands[name](arguments)}).encode() + b"\n"
        except AgentError as error:
            return _failure(str(error))
        return SENTINEL + reply if name == "guest-sync-delimited" else reply

    def _info(self, _: Mapping[str, Any]) -> Any:
        allowed = ALLOWED_WHILE_FROZEN if self.believes_frozen else self._commands.keys()
        commands = [
            {"name": name, "enabled": name in allowed and name not in self.disabled, "success-response": True}
            for name in self._commands
        ]
        return {"version": self.version, "supported_commands": commands}

    def _fsinfo(self, _: Mapping[str, Any]) -> Any:
        return [
            {"name": f"vd{letter}", "mountpoint": mount, "type": "ext4", "disk": []}
            for letter, mount in zip(string.ascii_lowercase, self.mounts, strict=False)
        ]

    def _freeze(self, mountpoints: Iterable[str]) -> int:
        self.frozen |= set(mountpoints) & set(self.mounts)
        self.believes_frozen = bool(self.frozen)
        return len(self.frozen)

    def _thaw(self, _: Mapping[str, Any]) -> int:
        held = len(self.frozen)
        self.frozen.clear()
        self.believes_frozen = False
        if self._vss_gave_up:
            self._vss_gave_up = False
            raise AgentError("couldn't hold writes: fsfreeze is limited up to 10 seconds: ")
        return held

    def _exec(self, arguments: Mapping[str, Any]) -> Any:
        path = arguments["path"]
        result = self.programs.get(path, ExecResult(0, b"", b""))
        if result is None:
            raise AgentError(f"Failed to execute child process “{path}” (No such file or directory)")
        words = list(arguments.get("arg", []))
        self.executed.append((path, words))
        self._processes.append(result(words) if callable(result) else result)
        return {"pid": len(self._processes)}

    def _exec_status(self, arguments: Mapping[str, Any]) -> Any:
        if not 0 < arguments["pid"] <= len(self._processes):
            raise AgentError("Invalid parameter 'pid'")
        result = self._processes[arguments["pid"] - 1]
        status: dict[str, Any] = {"exited": True}
        status |= {"signal": 9} if result.exit_code is None else {"exitcode": result.exit_code}
        outputs = {"out-data": result.output, "err-data": result.error_output}
        return status | {key: base64.b64encode(data).decode() for key, data in outputs.items() if data}


def _failure(description: str, kind: str = "GenericError") -> bytes:
    return json.dumps({"error": {"class": kind, "desc": description}}).encode() + b"\n"
