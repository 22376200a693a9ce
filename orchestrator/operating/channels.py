"""Setting the agent up, on the host's side: the virtio channel between a machine and its agent."""

import re
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import asdict

from orchestrator.acts import LIBVIRT_S_CHANNEL, Answer, Scope, qemu_options
from orchestrator.clock import Deadline
from orchestrator.errors import ConfigError, Rejected
from orchestrator.model import Action, Machine, Run
from orchestrator.operating.entries import Entries, Figures
from orchestrator.operating.seams import Channels, Connections
from orchestrator.ports import Observer

#: Seconds to look, and to change; a guest that is busy lets go of a device late.
_LOOK, _CHANGE = 10.0, 20.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
#: The longest path that fits the kernel's `sockaddr_un`, in bytes (unix(7)).
_LONGEST_PATH = 107
_NOT_THERE = {
    Scope.LIVE: "the machine does not run, or has no virtio-serial controller, which cannot be plugged in meanwhile: "
    "use --config, and start it anew; a QEMU without libvirt has it by -device virtio-serial-pci",
    Scope.CONFIG: "the machine has no definition that outlives it: use --live",
}


class Channelling:
    """What an operator does to a machine's channels."""

    def __init__(self, entries: Entries, connections: Connections) -> None:
        self._entries, self._connections, self._clock = entries, connections, entries.clock

    def show(self, machine: str) -> Answer:
        """The machine's virtio channels: where each is, whether an agent has opened it, and its socket.

        Raises NotFound, ConfigError for a machine with neither libvirt nor QMP, CallError and JournalError.
        """
        spec = self._entries.machine(machine)
        with closing(self._channels(spec)) as channels:
            deadline = Deadline.after(self._clock, _LOOK)
            what = {"question": "channel"}
            run, found = self._entries.asked(spec, what, lambda: channels.list(deadline))
        value = [asdict(channel) | {"libvirt_s_own": channel.name == LIBVIRT_S_CHANNEL} for channel in found]
        return Answer(machine, "channel", run, value)

    def add(
        self, machine: str, name: str, path: str | None, scopes: Collection[Scope], observer: Observer | None = None
    ) -> Run:
        """Add a channel where it is missing; without `scopes` in all that the machine has. Raises as `show` does.

        Without a path, libvirt chooses one; where there is no libvirt, it is the socket that is configured as the
        machine's agent. A channel that is there already, by whatever path, stays as it is.
        """
        if path is not None and (not path.startswith("/") or len(path.encode()) > _LONGEST_PATH):
            raise ConfigError(f"the path must be absolute and have at most {_LONGEST_PATH} bytes: {path}")
        spec = self._entries.machine(machine)
        if path is None and spec.hypervisor is None:
            path = spec.agent

        def add(channels: Channels, wanted: Collection[Scope], deadline: Deadline) -> Figures:
            return {"added": list(channels.add(name, path, wanted, deadline))}

        return self._change(machine, "add", name, path, scopes, add, observer)

    def remove(self, machine: str, name: str, scopes: Collection[Scope], observer: Observer | None = None) -> Run:
        """Remove a channel where it is; without `scopes` from all that the machine has. Raises as `show` does."""

        def remove(channels: Channels, wanted: Collection[Scope], deadline: Deadline) -> Figures:
            return {"removed": list(channels.remove(name, wanted, deadline))}

        return self._change(machine, "remove", name, None, scopes, remove, observer)

    def _change(
        self,
        machine: str,
        act: str,
        name: str,
        path: str | None,
        scopes: Collection[Scope],
        change: Callable[[Channels, Collection[Scope], Deadline], Figures],
        observer: Observer | None,
    ) -> Run:
        if _NAME.fullmatch(name) is None:
            raise ConfigError("a channel's name is up to 64 of A-Z a-z 0-9 . _ - and begins with none of . and -")
        spec = self._entries.machine(machine)
        with closing(self._channels(spec)) as channels, closing(self._connections.agent(spec)) as agent:

            def work(figures: Figures) -> None:
                deadline = Deadline.after(self._clock, _CHANGE)
                there = channels.scopes(deadline)
                for scope in scopes or there or (Scope.LIVE,):
                    if scope not in there:
                        raise Rejected(_NOT_THERE[scope])
                figures |= change(channels, scopes or there, deadline)

            what = {"act": act, "name": name, "path": path}
            return self._entries.act(
                spec, Action.CHANNEL, what, agent, work, _CHANGE, needs_agent=False, observer=observer
            )

    def _channels(self, machine: Machine) -> Channels:
        channels = self._connections.channels(machine)
        if channels is None:
            raise ConfigError(
                f"{machine.name} has neither `hypervisor` nor `qmp`: nobody could change its channels while it runs. "
                f"Start QEMU with {qemu_options(LIBVIRT_S_CHANNEL, machine.agent or 'PATH')}"
            )
        return channels
