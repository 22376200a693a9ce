"""What an operator's act needs of a machine beside `ports`."""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from orchestrator.acts import AgentChannel, PowerAct, PowerRequest, Question, Scope
from orchestrator.clock import Deadline
from orchestrator.model import Machine
from orchestrator.ports import Agent


class OperatorAgent(Agent, Protocol):
    """The guest agent, as an operator may ask it."""

    def ask(self, question: Question, deadline: Deadline) -> Any:
        """The agent's answer: an object, or a list of objects, with the members that fit the question."""
        ...

    def command(self, name: str, arguments: Mapping[str, Any], deadline: Deadline) -> Any:
        """Send any command of the agent once, and return what it returned, bounded and otherwise unseen."""
        ...


class Watch(Protocol):
    """The machine's own events, listened to."""

    def wait(self, deadline: Deadline) -> str | None:
        """The name of an event that shows that it happened, or None when none came by `deadline`. Raises CallError."""
        ...


class PowerSwitch(Protocol):
    """A machine's power, seen from outside."""

    def watching(self, act: PowerAct, deadline: Deadline) -> AbstractContextManager[Watch]:
        """Within the `with`, no event that shows `act` is missed. Raises CallError when that cannot be promised."""
        ...

    def ask(self, request: PowerRequest, deadline: Deadline) -> None:
        """Ask for it. When it returns, the machine was asked, and nothing more is known."""
        ...

    def close(self) -> None:
        """Drop the connections. Never raises."""
        ...


class Channels(Protocol):
    """The agent's channels of one machine."""

    def scopes(self, deadline: Deadline) -> tuple[Scope, ...]:
        """Where the machine can have channels now."""
        ...

    def list(self, deadline: Deadline) -> tuple[AgentChannel, ...]:
        """All its named channels, by name."""
        ...

    def add(self, name: str, path: str | None, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        """Add a channel where it is missing, and return where that was."""
        ...

    def remove(self, name: str, scopes: Collection[Scope], deadline: Deadline) -> tuple[Scope, ...]:
        """Remove a channel where it is, and return where that was."""
        ...

    def close(self) -> None:
        """Drop the connection. Never raises."""
        ...


class Connections(Protocol):
    """Makes the ways to a machine. Nothing connects before it is used."""

    def agent(self, machine: Machine) -> OperatorAgent:
        """The machine's agent."""
        ...

    def power(self, machine: Machine) -> PowerSwitch | None:
        """The machine's power, or None when it has neither a libvirt domain nor a QMP socket."""
        ...

    def channels(self, machine: Machine) -> Channels | None:
        """The machine's channels, or None when it has neither a libvirt domain nor a QMP socket."""
        ...
