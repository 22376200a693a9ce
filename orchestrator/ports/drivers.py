"""How the cut is made."""

from collections.abc import Collection, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from orchestrator.clock import Clock, Deadline
from orchestrator.model import Cut, Job, Machine, Place, Progress
from orchestrator.ports.backups import Repository
from orchestrator.ports.hypervisors import Hypervisor

#: What a driver is going to make: JSON values only, complete enough for another process to find and remove it.
Plan = Mapping[str, Any]


@dataclass(frozen=True)
class DriverContext:
    """What a driver is made from."""

    machine: Machine
    job: str
    run_id: str
    options: Mapping[str, Any]
    #: None when the machine has neither a libvirt domain nor a QMP socket.
    hypervisor: Hypervisor | None
    clock: Clock
    #: Where the job keeps its backups; None when it keeps none.
    repository: Repository | None = None
    #: Seconds after which the next backup is full again.
    full_every: float = Job.full_every
    #: How many incremental backups may stand on a full one; None: as many as there are until then.
    max_incrementals: int | None = None
    #: The most bytes per second that are copied; None: as fast as it can.
    rate: int | None = None


class Driver(Protocol):
    """How the cut is made on one machine. Drivers are found by the entry-point group `quiesce.drivers`.

    An entry point names a callable that takes a `DriverContext` and returns a Driver. It raises ConfigError when
    the job's options, or the machine, do not fit. The order of calls is `plan`, `prepare`, `cut`; then, when the cut
    failed or its outcome is unknown, `happened`, and `discard` when it did not. `happened` and `discard` are
    also called by recovery, in another process, with the plan from the journal.
    """

    def plan(self, snapshot: str, deadline: Deadline) -> Plan:
        """What will be made under that name. Changes nothing. Journaled before `prepare` is called."""
        ...

    def prepare(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """Everything slow, before the freeze. On failure, `discard` undoes what was made so far.

        Returns what the history shall say of it: figures of JSON values.
        """
        ...

    def cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """Make the cut, inside the window, and describe what was made. All disks of the machine or none."""
        ...

    def happened(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any] | None:
        """What the cut made, or None when it did not happen. Raises CallError when it cannot be told."""
        ...

    def discard(self, plan: Plan, deadline: Deadline) -> None:
        """Remove what was prepared for a cut that did not happen, and nothing else. Idempotent."""
        ...

    def close(self) -> None:
        """Release connections. Never raises."""
        ...


@runtime_checkable
class QuiescingDriver(Protocol):
    """What a driver has besides when it can freeze and thaw the guest itself. The transaction then sends no freeze, and
    thaws all the same.
    """

    def quiesced_cut(self, plan: Plan, deadline: Deadline) -> Mapping[str, Any]:
        """`Driver.cut` with the guest frozen before and thawed after. OutcomeUnknown: a freeze may still land."""
        ...


@runtime_checkable
class CopyingDriver(Protocol):
    """What a driver has besides when its cut only begins a copy. It goes on after the thaw, while the guest runs, and
    counts when it is published.

    After `cut` come `copied`, again and again until the copy has ended, and `publish`. When it fails, or is given up,
    `happened` and `discard` follow as they follow a failed cut. So, of such a driver, `happened` tells what
    is published, and `discard` ends the copy and removes what was written of it.
    """

    def copied(self, plan: Plan, deadline: Deadline) -> Progress:
        """How far the copy is. Raises Rejected when it has failed; after other kinds of CallError it is asked again."""
        ...

    def publish(self, plan: Plan, cut: Cut, deadline: Deadline) -> Mapping[str, Any]:
        """Make what was copied visible, whole and for good, and describe it. `cut` is what is known of its window."""
        ...


@runtime_checkable
class LocatingDriver(Protocol):
    """What a driver has besides when what its cuts made are files of disks."""

    def places(self, made: Mapping[str, Any], deadline: Deadline) -> tuple[Place, ...]:
        """Where the point in time of each disk is now. Raises CallError."""
        ...


@runtime_checkable
class RemovingDriver(Protocol):
    """What a driver has besides when it can remove what its cuts made, once retention lets go of it."""

    def remove(
        self, made: Mapping[str, Any], begun: Collection[str], deadline: Deadline
    ) -> Generator[tuple[str, Progress], None, None]:
        """Remove what `cut` described so, while it is iterated over; gone when the iteration has ended.

        Whatever must be merged first tells how far it is, disk by disk, and the first time before it is begun; `begun`
        names the disks of which an earlier removal told so. Every other point in time stays as it is. Idempotent: a
        removal that was closed, or killed, at any point is ended by the next. Closing the iteration takes back what is
        under way. Raises CallError.
        """
        ...


@runtime_checkable
class MergingDriver(RemovingDriver, Protocol):
    """A driver whose removals are in a cut's way, because they merge what the machine stands on."""

    def give_way(self, made: Mapping[str, Any], deadline: Deadline) -> None:
        """Take back a removal that another process has under way. Afterwards the machine can be cut."""
        ...
