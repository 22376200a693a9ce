"""Who is measured: the peer, this program, and the floor below which nobody comes. Each makes one snapshot per turn."""

import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.agent.guest import GuestAgent
from orchestrator.agent.libvirt import LibvirtChannel
from orchestrator.agent.unix import unix_channel
from orchestrator.clock import Deadline, SystemClock
from orchestrator.hypervisor.libvirt import LibvirtDomain
from tests.bench.guests import Felt, flatten, listen
from tests.lab import Guest, LibvirtGuest
from tests.lab.libvirtd import URI, virsh

QUIESCE = Path(sys.executable).with_name("quiesce")

#: The steps that make up the window, in their order.
IN_WINDOW = ("freeze", "cut", "thaw", "confirm")

#: A run as `quiesce run --json` tells it.
Document = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """One turn of one contender. Times are in milliseconds, apart from `seconds`."""

    #: The whole command, as a shell sees it.
    seconds: float
    #: The application's longest stall, from the command's start to its end.
    longest: float
    #: The application's longest stall around the freeze.
    frozen: float
    #: Megabytes that the guest had still to write at the start.
    unwritten: float
    #: From the journal: the window, and the steps in it by their actions. Nothing for the others.
    window: float | None = None
    steps: dict[str, float] = field(default_factory=dict)

    @property
    def own(self) -> float:
        """What the program itself took of the window: neither the agent's nor the hypervisor's."""
        return (self.window or 0.0) - sum(self.steps.values())


@dataclass(frozen=True)
class Contender:
    """Somebody who makes a snapshot of a guest: `act` does it, and returns what a journal says about it, if any."""

    name: str
    guest: Guest
    act: Callable[[], Document | None]
    burst: bool = False

    def turn(self) -> Sample:
        """Make a snapshot while the guest's application listens, and put the guest back."""
        document, felt = listen(self.guest, self.act, self.burst)
        flatten(self.guest)
        return _sample(felt, document)


def peer(guest: LibvirtGuest) -> None:
    """What is in use today."""
    name = f"peer-{secrets.token_hex(4)}"
    virsh("snapshot-create-as", guest.name, name, "--quiesce", "--disk-only")


def quiesce(configuration: Path, *words: str) -> Any:
    """Type a command of this program, and return the document that it writes."""
    command: list[str | Path] = [QUIESCE, "--config", configuration, *words, "--json"]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=300).stdout)


def floor(guest: Guest) -> None:
    """Freeze and thaw, with nothing between, on a channel that is in step."""
    clock = SystemClock()
    if isinstance(guest, LibvirtGuest):
        agent = GuestAgent(LibvirtChannel(LibvirtDomain(URI, guest.name, clock)))
    else:
        agent = GuestAgent(unix_channel(str(guest.agent_socket)))
    deadline = Deadline.after(clock, 60)
    with closing(agent):
        agent.sync(deadline)
        agent.freeze((), deadline)
        agent.thaw(deadline)


def _sample(felt: Felt, document: Document | None) -> Sample:
    if document is None:
        return Sample(felt.seconds, felt.longest, felt.longest, felt.unwritten)
    assert document.get("state") == "done", document
    assert document["consistency"] == "filesystem", document
    steps = {step["action"]: step for step in document["steps"] if step["outcome"] == "done"}
    begin = steps["freeze"]["monotonic"] - steps["freeze"]["duration_ms"] / 1000
    return Sample(
        felt.seconds,
        felt.longest,
        felt.longest_within(begin, steps["confirm"]["monotonic"]),
        felt.unwritten,
        document["window_ms"],
        {action: steps[action]["duration_ms"] for action in IN_WINDOW},
    )
