"""The agent's channels of a QEMU without libvirt: plugged in and out of the running machine by its monitor.

Commands and replies: qapi/char.json, qapi/qdev.json and qapi/qom.json in QEMU. A channel is a `virtserialport` on the
machine's virtio-serial controller, and a character device behind it, which listens on a unix socket.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.acts import AgentChannel, Scope
from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.hypervisor.monitor import Monitor

#: Where QEMU keeps the devices with an id of their own, and those without.
_DEVICES = ("/machine/peripheral", "/machine/peripheral-anon")
#: Seconds between two looks whether a device has let go of what is behind it.
_LOOK = 0.2


@dataclass(frozen=True)
class _Port:
    device: str
    chardev: str


class BareChannels:
    """One QEMU process's channels. What it was started with is not ours to change: they are gone when it ends."""

    def __init__(self, socket: str) -> None:
        self._monitor = Monitor(socket)

    def scopes(self, deadline: Deadline) -> tuple[Scope, ...]:
        """The running machine, if it has a virtio-serial controller."""
        buses = any(kind.startswith("child<virtio-serial-") for _, kind in self._devices(deadline))
        return (Scope.LIVE,) if buses else ()

    def list(self, deadline: Deadline) -> tuple[AgentChannel, ...]:
        """All its named virtio channels, by name."""
        ports, ends = self._ports(deadline), self._chardevs(deadline)
        return tuple(_channel(name, ends[ports[name].chardev]) for name in sorted(ports) if ports[name].chardev in ends)

    def add(self, name: str, path: str | None, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        """Add a channel where it is missing, and return where that was (`chardev-add`, `device_add`).

        Raises Rejected where something is at the path already: QEMU would remove it, whatever it is.
        """
        assert path is not None  # there is no libvirt that could choose one
        if name in self._ports(deadline):
            return ()
        own = f"quiesce-{name}"
        self._remove_chardev(own, deadline)  # what an addition that was cut short has left
        if Path(path).exists():
            raise Rejected(
                f"{path} is there already, and QEMU would remove it: do so where nothing uses it, or use --path"
            )
        address = {"type": "unix", "data": {"path": path}}
        backend = {"type": "socket", "data": {"addr": address, "server": True, "wait": False}}
        self._monitor.execute("chardev-add", {"id": own, "backend": backend}, deadline)
        try:
            port = {"driver": "virtserialport", "id": own, "chardev": own, "name": name}
            self._monitor.execute("device_add", port, deadline)
        except Rejected:
            self._remove_chardev(own, deadline)
            raise
        return (Scope.LIVE,)

    def remove(self, name: str, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        """Remove a channel where it is, with its socket, and return where that was (`device_del`, `chardev-remove`).

        Raises OutcomeUnknown when the machine has not let go of it by `deadline`: it may still do so.
        """
        found = self._ports(deadline).get(name)
        if found is None:
            return ()
        self._monitor.execute("device_del", {"id": found.device}, deadline)
        self._remove_chardev(found.chardev, deadline)
        return (Scope.LIVE,)

    def close(self) -> None:
        """Let go of the monitor."""
        self._monitor.close()

    def _remove_chardev(self, label: str, deadline: Deadline) -> None:
        """Remove a character device, if it is there. It is busy for a moment after its device has gone."""
        while label in self._chardevs(deadline):
            try:
                self._monitor.execute("chardev-remove", {"id": label}, deadline)
            except Rejected as error:
                if deadline.passed:
                    raise OutcomeUnknown(
                        f"the machine has not let go of the socket behind its channel: {error}"
                    ) from error
                deadline.clock.sleep(min(_LOOK, deadline.remaining()))

    def _ports(self, deadline: Deadline) -> Mapping[str, _Port]:
        ports = {}
        for device, kind in self._devices(deadline):
            if kind == "child<virtserialport>":
                name, chardev = (self._property(device, key, deadline) for key in ("name", "chardev"))
                ports[name] = _Port(device, chardev)
        return ports

    def _devices(self, deadline: Deadline) -> Iterator[tuple[str, str]]:
        """The path and the type of each device."""
        for folder in _DEVICES:
            for name, kind in self._monitor.ask("qom-list", _children, deadline, path=folder):
                yield f"{folder}/{name}", kind

    def _property(self, device: str, key: str, deadline: Deadline) -> str:
        return self._monitor.ask("qom-get", str, deadline, path=device, property=key)

    def _chardevs(self, deadline: Deadline) -> Mapping[str, Mapping[str, Any]]:
        return self._monitor.ask("query-chardev", lambda reply: {str(each["label"]): each for each in reply}, deadline)


def _children(reply: Any) -> Sequence[tuple[str, str]]:
    return [(str(each["name"]), str(each["type"])) for each in reply]


def _channel(name: str, end: Mapping[str, Any]) -> AgentChannel:
    socket = re.fullmatch(r"(?:disconnected:)?unix:(.+?)(?:,server(?:=on)?)?", str(end["filename"]))
    return AgentChannel(name, (Scope.LIVE,), bool(end["frontend-open"]), socket[1] if socket else None)
