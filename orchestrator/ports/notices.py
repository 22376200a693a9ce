"""Telling people."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.model import Concern, Notice, NoticeKind, Told


class Notifier(Protocol):
    """Tells people. Every method returns at once and never raises: what cannot be told is logged."""

    def tell(self, notice: Notice) -> None:
        """Tell of something: once, and again after a day if it is told still."""
        ...

    def well(self, job: str, machine: str) -> None:
        """The job has done its work on the machine: if people were told that it had not, tell that this is over."""
        ...

    def stand(self, kind: NoticeKind, notices: Collection[Notice], seen: datetime) -> None:
        """These, and no others of that kind, stood when it was looked, at `seen`. What was told before is over."""
        ...


class Nobody:
    """The notifier of a service that has nobody to tell."""

    def tell(self, notice: Notice) -> None:
        """See `Notifier`."""

    def well(self, job: str, machine: str) -> None:
        """See `Notifier`."""

    def stand(self, kind: NoticeKind, notices: Collection[Notice], seen: datetime) -> None:
        """See `Notifier`."""


class Memory(Protocol):
    """What people were told, over restarts, with the journal's guarantees and errors."""

    def told(self) -> Sequence[Told]:
        """Everything that was told and is not over."""
        ...

    def remember(self, told: Told) -> None:
        """Remember that people were told, in place of the time before."""
        ...

    def forget(self, concern: Concern) -> None:
        """It is over."""
        ...
