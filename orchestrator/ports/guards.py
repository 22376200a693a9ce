"""The guard, as the orchestrator and recovery need it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from orchestrator.model import Machine, Step


class Lease(Protocol):
    """The guard's charge over one machine in one run. Safe to use from any thread; never raises and never waits."""

    def within(self, seconds: float | None, *, answered: bool = False) -> None:
        """What is done to the machine from now on will be over in that many seconds; None: when it will.

        Otherwise the guard takes this process for hung: it ends it by SIGKILL, and thaws all that it is armed for.
        `answered`: the guest has answered the freeze, so that none can land any more.
        """
        ...

    def release(self) -> None:
        """The machine is confirmed thawed, or no freeze was sent: the guard forgets it."""
        ...


class Record(Protocol):
    """What the guard did to one machine after its orchestrator had died."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Its steps, in order. Empty when it did nothing, or what it wrote cannot be read."""
        ...

    def dismiss(self) -> None:
        """The machine is confirmed thawed: a guard that would still thaw it does not. Never raises."""
        ...

    def remove(self) -> None:
        """The machine is settled, and the journal has these steps. Never raises."""
        ...


class Guard(Protocol):
    """The separate process that thaws when this one cannot: when it has died, or hangs in a window."""

    def prepare(self, machines: Sequence[Machine]) -> None:
        """These will be armed soon: a guard comes up meanwhile, if it must, and loads what it needs to reach them.

        Never raises, never waits.
        """
        ...

    def arm(self, run_id: str, machine: Machine) -> Lease:
        """Afterwards the guard has said that it will thaw this machine if this process ends before `release`.

        A guard that has died is started again. Raises NoGuard when there is none; then no freeze may be sent.
        """
        ...

    def record(self, run_id: str, machine: str) -> AbstractContextManager[Record]:
        """What a guard, of whatever process, did to a machine in a run. Within the `with`, none thaws it.

        A guard that is about it is waited for, but not for ever. Starts no guard. Raises nothing.
        """
        ...
