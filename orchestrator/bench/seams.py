"""What the bench needs of a machine beside `ports`."""

from collections.abc import Mapping
from typing import Any, Protocol

from orchestrator.acts import Question
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


class Connections(Protocol):
    """Makes the ways to a machine. Nothing connects before it is used."""

    def agent(self, machine: Machine) -> OperatorAgent:
        """The machine's agent."""
        ...
