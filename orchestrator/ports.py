"""The seams of the product: what the heart needs from the world, as protocols.

Every call that leaves the process has a deadline and ends in one of four ways: it returns, or it raises
`Unreachable` (nothing was sent), `Rejected` (the other side said no) or `OutcomeUnknown` (sent; no trustworthy
answer). No other exception crosses a seam, whatever a hostile guest or a broken library does.
"""

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from orchestrator.answers import Frozen, LastGood, Unquiesced
from orchestrator.clock import Clock, Deadline
from orchestrator.model import (
    AgentInfo,
    Backup,
    Cut,
    Disk,
    DiskCopy,
    ExaminedFilesystem,
    ExecResult,
    Filesystem,
    Finding,
    FreezeStatus,
    Horizon,
    ImageFormat,
    Job,
    Machine,
    OsInfo,
    Overlay,
    Owner,
    Pausable,
    Pause,
    Place,
    Power,
    Progress,
    RestoredDisk,
    Run,
    Snapshot,
    State,
    Step,
    Target,
    Verify,
    Way,
)

#: Is told of every step as it is made, also inside the window: it must return at once and never raise.
#: Of a step that takes long it is told how far it is, by its intent once more, with figures that no journal has.
Observer = Callable[[Step], None]


class Agent(Protocol):
    """The guest agent of one machine. Used by one thread at a time.

    It connects by itself when first used and after `reset`, and brings the channel into step (`guest-sync`)
    before a call whenever it is not known to be.
    """

    @property
    def way(self) -> Way:
        """How it is reached."""
        ...

    @property
    def other(self) -> "Agent | None":
        """The machine's second way, where it has one: a thaw may go by it when this one does not answer.

        Behind it may be the same agent, or another one in the same guest with a belief of its own.
        """
        ...

    @property
    def linger(self) -> float:
        """Seconds for which a command that we gave up waiting for may still reach the guest."""
        ...

    def sync(self, deadline: Deadline) -> None:
        """Prove that the agent answers now, and discard every stale reply.

        Raises Unreachable or OutcomeUnknown.
        """
        ...

    def ping(self, deadline: Deadline) -> None:
        """`guest-ping`."""
        ...

    def info(self, deadline: Deadline) -> AgentInfo:
        """`guest-info`: version and enabled commands."""
        ...

    def osinfo(self, deadline: Deadline) -> OsInfo:
        """`guest-get-osinfo`. Raises CommandDisabled on an agent older than 2.10."""
        ...

    def fsinfo(self, deadline: Deadline) -> tuple[Filesystem, ...]:
        """`guest-get-fsinfo`: the guest's mounted file systems. Refused by the agent while frozen."""
        ...

    def freeze_status(self, deadline: Deadline) -> FreezeStatus:
        """`guest-fsfreeze-status`: the agent's belief."""
        ...

    def freeze(self, mountpoints: Sequence[str], deadline: Deadline) -> int:
        """Freeze all file systems, or those at `mountpoints`, and return how many were frozen.

        `guest-fsfreeze-freeze`, or `guest-fsfreeze-freeze-list` with mount points. Never sent twice by one call.
        Raises CommandDisabled when it was certainly not carried out: the agent forbids it, or is in its
        frozen state already.
        """
        ...

    def thaw(self, deadline: Deadline) -> int:
        """`guest-fsfreeze-thaw`: thaw, and return how many file systems were still frozen. 0 on a thawed guest."""
        ...

    def start(self, path: str, arguments: Sequence[str], deadline: Deadline) -> int:
        """Start a program in the guest (`guest-exec`), and return the number by which `ended` asks for it.

        On Linux that is its process id.
        """
        ...

    def ended(self, process: int, deadline: Deadline) -> ExecResult | None:
        """How a started program ended, or None while it runs (`guest-exec-status`). It is told once only."""
        ...

    def execute(self, path: str, arguments: Sequence[str], deadline: Deadline) -> ExecResult:
        """Run a program in the guest and wait for its end (`guest-exec`, `guest-exec-status`).

        The program is not ended when `deadline` passes; OutcomeUnknown is raised then.
        """
        ...

    def read_file(self, path: str, limit: int, deadline: Deadline) -> bytes:
        """The first `limit` bytes of a file of the guest. Raises Rejected when there is none."""
        ...

    def reset(self) -> None:
        """Drop the connection, and that of the second way. The next call connects anew. Never raises."""
        ...

    def close(self) -> None:
        """Drop both for good. Never raises."""
        ...


class Hypervisor(Protocol):
    """One machine seen from outside: what it does, its disks, and the atomic cut over all of them."""

    #: True when the machine's disk files are on this host, so that we can make overlay files ourselves.
    local: bool

    def power(self, deadline: Deadline) -> Power:
        """What the machine is doing. Raises Rejected when there is no such machine."""
        ...

    def disks(self, deadline: Deadline) -> tuple[Disk, ...]:
        """Its writable disks: everything that a snapshot must contain. Raises Rejected for one that no
        file-based overlay can be put on.
        """
        ...

    def open_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Let QEMU open the overlay files beforehand, where that is possible. Idempotent."""
        ...

    def snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Move all disks onto their overlays at once: all or none. This is the cut; nothing here is slow."""
        ...

    def has_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> bool:
        """Whether that cut happened. Raises OutcomeUnknown or Unreachable when it cannot be told."""
        ...

    def close_overlays(self, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """Let go of overlays that were opened and never became active. Idempotent."""
        ...

    def close(self) -> None:
        """Drop the connection. Never raises."""
        ...


@runtime_checkable
class QuiescingHypervisor(Protocol):
    """What a hypervisor has besides when it can freeze and thaw the guest around its own cut."""

    def quiesced_snapshot(self, name: str, overlays: Sequence[Overlay], deadline: Deadline) -> None:
        """`Hypervisor.snapshot`, with the guest frozen by the hypervisor before and thawed after.

        Raises Rejected when the hypervisor says that there is no snapshot, OutcomeUnknown while a freeze may still
        reach the guest.
        """
        ...


class Copies(Protocol):
    """Copies of a running machine's disks, and the checkpoints that tell what has changed since an earlier one.

    A checkpoint is a name under which the hypervisor notes, from a copy's beginning on, what the guest writes. Several
    go on side by side; each costs memory until it is forgotten.
    """

    def definition(self, deadline: Deadline) -> str | None:
        """What another machine like this one is defined by: the domain's XML; None without libvirt."""
        ...

    def changed(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> int:
        """How many bytes of these disks have changed since then. Raises Rejected, with the reason, if nobody knows."""
        ...

    def open(self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Let the hypervisor open the files and make ready the checkpoint, as far as it can beforehand. Idempotent."""
        ...

    def begin(
        self, checkpoint: str, since: str | None, copies: Sequence[DiskCopy], rate: int | None, deadline: Deadline
    ) -> None:
        """Begin to copy all disks as they are now, or only what has changed since the checkpoint `since`, and to note
        under `checkpoint` what changes from now on: at once, all or none. This is the cut; nothing here is slow.

        `rate` is the most bytes per second of all copies together.
        """
        ...

    def progress(self, copies: Sequence[DiskCopy], rate: int | None, deadline: Deadline) -> Progress:
        """How far the copies are, and divide the rate among those that go on.

        Raises Rejected when one has failed, or nobody knows of it any more.
        """
        ...

    def end(self, copies: Sequence[DiskCopy], deadline: Deadline) -> None:
        """Afterwards nothing is copied to these files, and the hypervisor lets go of them. A machine that it had paused
        because a file could not be written runs on. Idempotent.

        Raises OutcomeUnknown while a beginning that was left behind may still come.
        """
        ...

    def forget(self, checkpoint: str, disks: Sequence[Disk], deadline: Deadline) -> None:
        """Afterwards nothing is noted under that name. Idempotent."""
        ...

    def leave(self, checkpoint: str, deadline: Deadline) -> None:
        """Go on noting under that name, in a way that is in nobody's way."""
        ...


class Merges(Protocol):
    """Merging overlays of a running machine, each into the file directly below it."""

    def chains(self, deadline: Deadline) -> Mapping[str, tuple[str, ...]]:
        """For each writable disk, by its name, the files that it stands on now: the top first, and all of them.

        Raises Rejected when the machine is off and cannot tell.
        """
        ...

    def begin(self, disk: str, overlay: str, below: str, deadline: Deadline) -> None:
        """Begin to write what an overlay of a disk holds into the file below it.

        Until it has ended, the machine stands on both, and sees what it saw.
        """
        ...

    def progress(self, disk: str, overlay: str, deadline: Deadline) -> Progress | None:
        """How far the merge on that disk is, also one that another process began; None when there is none any more.

        One that has copied everything is ended here: the machine then goes on without the overlay. Raises Rejected for
        one that has failed, where the reason is known; otherwise the overlay just stays in its chain.
        """
        ...

    def cancel(self, disk: str, overlay: str, deadline: Deadline) -> None:
        """Afterwards nothing is merged on that disk. What was written below is there above it as well. Idempotent.

        An overlay whose merge had ended by then is closed.
        """
        ...

    def close(self, overlay: str, deadline: Deadline) -> None:
        """Let the machine close an overlay on which no disk stands. Raises Rejected while it is in use. Idempotent."""
        ...


@runtime_checkable
class CopyingHypervisor(Protocol):
    """What a hypervisor has besides when it can copy the disks of a running machine."""

    copies: Copies


@runtime_checkable
class MergingHypervisor(Protocol):
    """What a hypervisor has besides when it can merge overlays."""

    merges: Merges


class Repository(Protocol):
    """Where backups are kept: a folder for each machine, in it one for each run. What is visible there is whole.

    Every call raises RepositoryError when the folder cannot be read or written, and RepositoryAway when it
    was a repository before and is not now. One run at a time writes the backups of a machine: the journal sees to it.
    """

    #: The repository's folder.
    path: Path

    def stage(self, machine: str, run_id: str) -> Path:
        """Make the folder in which a backup is put together, and return it: empty, and not visible as a backup.

        Each disk goes into it as `StoredDisk.file`. The first stage in an empty folder makes it a repository.
        """
        ...

    def staged(self, machine: str, run_id: str) -> Path:
        """The folder that `stage` makes, whether it is there or not."""
        ...

    def publish(self, backup: Backup) -> Backup:
        """Make a staged backup visible, whole and for good; return it with its sizes and sums.

        Raises RepositoryError when it is not visible, OutcomeUnknown when it is, but might not survive a loss of power.
        """
        ...

    def drop(self, machine: str, run_id: str) -> None:
        """Remove what was staged and not published. Idempotent."""
        ...

    def machines(self) -> tuple[str, ...]:
        """The machines that have, or had, backups here."""
        ...

    def backups(self, machine: str) -> tuple[Backup, ...]:
        """The published backups of a machine, the oldest cut first. One whose manifest is damaged is left out."""
        ...

    def backup(self, machine: str, run_id: str) -> Backup:
        """One published backup. Raises NotFound when there is none, RepositoryError when its manifest is damaged."""
        ...

    def chain(self, machine: str, run_id: str) -> tuple[Backup, ...]:
        """A published backup after all that it stands on: what a restore needs, the full one first.

        Raises NotFound when there is no such backup, RepositoryError when one of the others is missing or damaged.
        """
        ...

    def folder(self, backup: Backup) -> Path:
        """Where the files of a published backup are."""
        ...

    def damaged(self, backup: Backup, disks: Collection[str]) -> tuple[str, ...]:
        """Which of a published backup's files, of those disks, are not what they were, each with what is wrong."""
        ...

    def remove(self, machine: str, run_id: str) -> None:
        """Remove a published backup, never partly visible. Idempotent, so that a killed removal can be ended.

        Raises RepositoryError while another backup stands on it: remove the newest of a chain first. Where nothing was
        ever published, RepositoryAway: nothing was removed there.
        """
        ...

    def check(self) -> tuple[Finding, ...]:
        """Read everything and say what is wrong. Changes nothing."""
        ...


#: Examines what a run has published of a machine, and returns what the history shall say of it. Raises Untrusted when
#: something is wrong, and another CallError when it cannot be examined.
Examine = Callable[[str, str, Verify], Mapping[str, Any]]


class Images(Protocol):
    """What is done with the images of a backup. A chain is given as its files, the full one first.

    Every call raises Rejected when it cannot be done, with what the tool said.
    """

    def flatten(self, files: Mapping[Path, Sequence[Path]], form: ImageFormat) -> None:
        """Write what each chain holds into the file that it is given for: all of them, for good, or none.

        Zeros become holes. A file that is there already is replaced, when all are written.
        """
        ...

    def problems(self, image: Path) -> tuple[str, ...]:
        """What `qemu-img check` finds wrong with one image."""
        ...

    def serving(self, chains: Mapping[str, Sequence[Path]]) -> AbstractContextManager[Mapping[str, Path]]:
        """Within the `with`, each disk is served by NBD at its unix socket, also to be written. That is thrown away.

        The first client that connects is served, and no other.
        """
        ...

    def filesystems(self, disk: str, chain: Sequence[Path]) -> tuple[ExaminedFilesystem, ...]:
        """Examine every file system on a disk, be it the whole of it or in a partition, on a copy of its own."""
        ...


class Domains(Protocol):
    """The domains of a libvirt, as places for what a backup holds. All raise CallError."""

    def check(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> None:
        """Raise Rejected when `define` would: there is a domain by that name, or the disks are not those it needs."""
        ...

    def define(self, name: str, domain_xml: str, disks: Sequence[RestoredDisk]) -> str:
        """Define a new domain as `domain_xml` has it, but with these disks, and return its UUID. It is not started.

        It has a name, a UUID and MAC addresses of its own, so that it can stand beside the one that was backed up.
        """
        ...

    def booting(self, name: str, domain_xml: str, disks: Mapping[str, Path]) -> AbstractContextManager[None]:
        """Within the `with`, a domain by that name runs, from disks that are served by NBD at unix sockets.

        It is what `domain_xml` describes, without network, host devices, media and lines to the outside but the agent's
        channel. libvirt ends it with us, whatever ends us, and keeps nothing of it. Raises Rejected when it has no
        such channel.
        """
        ...

    def close(self) -> None:
        """Drop the connection. Never raises."""
        ...


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

    def prepare(self) -> None:
        """A machine will be armed soon: a guard that must be started comes up meanwhile. Never raises, never waits."""
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


class Connections(Protocol):
    """Makes the ways to a machine. Nothing connects before it is used."""

    def agent(self, machine: Machine) -> Agent:
        """The machine's agent by the way by which it is frozen, with the second way behind it."""
        ...

    def hypervisor(self, machine: Machine) -> Hypervisor | None:
        """The machine seen from outside, or None when it has neither a libvirt domain nor a QMP socket."""
        ...

    def driver(self, job: Job, machine: Machine, run_id: str, hypervisor: Hypervisor | None) -> Driver:
        """The job's driver on that machine, which uses `hypervisor` and leaves it open. Raises ConfigError."""
        ...


class Journal(Protocol):
    """The durable memory. When a method returns, what it wrote survives the power cord.

    Every method raises JournalUnavailable when the database cannot be reached or written.
    """

    def open_run(self, run: Run) -> Run:
        """Write a new run with its targets.

        Returns it as it stands in the journal: a target whose machine is in another open run is `refused` there,
        with that run's id in its error, and with `run.job.group` so are all the others. Raises AlreadyRun when the job
        has a run for the same scheduled time, whatever became of it.
        """
        ...

    def record(self, run: Run, steps: Sequence[Step]) -> None:
        """Append steps to a run."""
        ...

    def move(self, run: Run, target: Target, steps: Sequence[Step]) -> None:
        """Move one target to `target.state`, with all its other fields, and append steps: all or nothing.

        The move lands only from a state that `states.MOVES` permits and while `run.owner` owns the run; it raises
        Superseded otherwise, and then nothing was written. The run's own state, consistency, error and
        end follow from its targets in the same transaction.
        """
        ...

    def take_over(self, run: Run, owner: Owner) -> Run:
        """Give an open run to a new owner, if `run.owner` still owns it. Raises Superseded otherwise."""
        ...

    def run(self, run_id: str) -> Run:
        """One run with its steps; an unambiguous beginning of the id will do. Raises NotFound."""
        ...

    def open_runs(self) -> tuple[Run, ...]:
        """All runs that have an open target, with their steps, oldest first."""
        ...

    def snapshots(
        self, *, job: str | None = None, machine: str | None = None, let_go: bool = False
    ) -> tuple[Snapshot, ...]:
        """What runs have made and what is not certainly gone, of one job or machine or of all, oldest first. With
        `let_go` only what is being removed.

        A target tells of its snapshot until `record` is given the intent to remove it; from then on it has a
        `let_go_at` here, until `record` is given that the removal is done.
        """
        ...

    def history(
        self,
        limit: int,
        *,
        job: str | None = None,
        machine: str | None = None,
        state: State | None = None,
    ) -> tuple[Run, ...]:
        """The newest runs without their steps: stuck ones first, then newest first."""
        ...


class Schedules(Protocol):
    """What the scheduler remembers beside the runs, with the journal's guarantees and errors."""

    def horizons(self) -> Mapping[str, Horizon]:
        """Of each job that was ever scheduled, up to when its times are decided."""
        ...

    def decided(self, job: str, horizon: Horizon) -> None:
        """Remember a job's horizon in place of the one before."""
        ...

    def pauses(self) -> tuple[Pause, ...]:
        """All that is paused, by kind and name."""
        ...

    def pause(self, pause: Pause) -> bool:
        """Remember a pause; say whether it is new. One that is there stays as it is."""
        ...

    def resume(self, kind: Pausable, name: str) -> bool:
        """Forget a pause; say whether there was one."""
        ...


class Statistics(Protocol):
    """What the history answers as a whole, with the journal's errors."""

    def unquiesced(self, since: datetime, limit: int) -> Sequence[Unquiesced]:
        """The cuts since then that are not proven to be frozen throughout: the newest first, at most `limit`."""
        ...

    def frozen(self, since: datetime) -> Sequence[Frozen]:
        """How long each guest was frozen since then: the longest first."""
        ...

    def last_good(self) -> Sequence[LastGood]:
        """The newest good run of each machine that has one."""
        ...

    def forget(self, before: datetime) -> int:
        """Delete the runs that ended before then, and return how many. What is open or stuck stays, and what made a
        snapshot that is not gone: only what the journal knows is ever removed.
        """
        ...

    def vacuum(self) -> None:
        """Give the space of what was deleted back to the file system."""
        ...
