"""The words of the field as values: what is configured, what happened, and nothing that does anything.

All values are immutable. Durations are in seconds where the name says nothing else.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import quote

#: The prefix of every name that we give to a snapshot, a node or a file. Nothing without it is ever deleted.
NAME_PREFIX = "quiesce-"


class Quiesce(StrEnum):
    """What a job wants when a guest cannot be quiesced."""

    REQUIRED = "required"  # fail
    PREFERRED = "preferred"  # cut all the same, and say so
    OFF = "off"  # do not even try


class PreFlush(StrEnum):
    """How dirty pages are written back before the freeze."""

    OFF = "off"
    SYNC = "sync"  # one sync(1): short window, but the stall mostly moves before it
    GENTLE = "gentle"  # paced, so that the application hardly feels it


class CatchUp(StrEnum):
    """What becomes of a scheduled run whose time passed while nobody could run it."""

    ONCE = "once"  # the newest one is run as soon as it can be; those before it are let go
    SKIP = "skip"  # it is let go


class Pausable(StrEnum):
    """What scheduled runs can be kept from."""

    JOB = "job"
    MACHINE = "machine"


class Verify(StrEnum):
    """How a backup is examined: each way does what those before it do, too."""

    CHECKSUM = "checksum"  # its files are what was written, and whole as images
    FILESYSTEM = "filesystem"  # its file systems are clean, and were at rest at the cut
    BOOT = "boot"  # it boots, and the guest's agent answers


class Trigger(StrEnum):
    """Why a run began."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    THAW = "thaw"  # an operator thawed by hand; the run has no job


class State(StrEnum):
    """The state of a run, and of each of its targets."""

    PENDING = "pending"  # journaled; the guest is untouched
    RUNNING = "running"  # the intents are committed: the guest may be frozen
    DONE = "done"
    FAILED = "failed"  # did not do what was asked; the guest is confirmed thawed, or was never frozen
    REFUSED = "refused"  # turned away before it touched the guest
    RECOVERED = "recovered"  # its process died; recovery settled it
    STUCK = "stuck"  # a thaw could not be confirmed: the guest may still be frozen
    CANCELLED = "cancelled"  # ended by its user; the guest is confirmed thawed, or was never frozen


class Consistency(StrEnum):
    """What is known about the cut's contents, from the best to nothing."""

    APPLICATION = "application"  # the guest's hooks ran, and it was frozen through the cut
    FILESYSTEM = "filesystem"  # frozen through the cut, proven
    CRASH = "crash"  # there is a cut; that the guest was frozen through it is not proven
    NONE = "none"  # there is no cut, or nobody knows of one


class Action(StrEnum):
    """What a step did."""

    PREFLIGHT = "preflight"  # may this machine be quiesced now?
    PREPARE = "prepare"  # everything slow: overlay files, target images
    FLUSH = "flush"  # write back the guest's dirty pages
    FUSE = "fuse"  # light the fuse that thaws the guest from within, or put it out
    FREEZE = "freeze"
    CUT = "cut"
    THAW = "thaw"
    CONFIRM = "confirm"  # ask the guest whether it is thawed
    VERIFY = "verify"  # ask the driver, by name, whether a cut happened
    DISCARD = "discard"  # remove what was prepared for a cut that did not happen
    COPY = "copy"  # after the thaw: write out what a backup holds
    PUBLISH = "publish"  # make a backup visible in its repository
    EXAMINE = "examine"  # look whether what a run made is whole: sums, file systems, a boot
    MERGE = "merge"  # commit a snapshot's overlay into what it stands on
    REMOVE = "remove"  # remove what retention let go
    HOOK = "hook"  # a program of the job's, on the host, before or after
    CHANNEL = "channel"  # change the agent's channel of a domain
    POWER = "power"  # shut down, reboot, suspend or wake a machine
    ASK = "ask"  # ask the agent for something else: an operator's command, or whether the guest's hooks ran


class Outcome(StrEnum):
    """How far a step came."""

    INTENT = "intent"  # about to be done
    DONE = "done"
    FAILED = "failed"  # certainly without effect, or with an effect that the error names
    UNKNOWN = "unknown"  # may or may not have taken effect


class FreezeStatus(StrEnum):
    """What the agent *believes* about the guest's file systems (`GuestFsfreezeStatus` in QEMU's qga schema).

    It is not the kernel's state: after a thaw by another hand it still reads `frozen`. The count that a thaw
    answers tells the truth.
    """

    THAWED = "thawed"
    FROZEN = "frozen"


class Way(StrEnum):
    """How an agent is reached."""

    SOCKET = "socket"  # its channel's unix socket
    LIBVIRT = "libvirt"


class Sight(StrEnum):
    """What a look at a machine tells about a freeze."""

    THAWED = "thawed"
    HELD = "held"  # in the window of a run; it was not asked
    STUCK = "stuck"  # an open run froze it, and its thaw is not confirmed
    FOREIGN = "foreign"  # frozen, and by no run of the journal
    SILENT = "silent"  # no answer
    OFF = "off"


class Power(StrEnum):
    """What a machine is doing, seen from outside."""

    RUNNING = "running"
    PAUSED = "paused"
    MIGRATING = "migrating"
    OFF = "off"


@dataclass(frozen=True)
class Machine:
    """A guest, and the ways to it. At least one of `hypervisor` and `agent` is set."""

    name: str
    #: The libvirt connection URI, e.g. `qemu:///system`.
    hypervisor: str | None = None
    #: The libvirt domain; set when `hypervisor` is.
    domain: str | None = None
    #: Path of the agent's unix socket. When set, the guest is frozen by this way; libvirt, where there is a domain, is
    #: the second way to thaw it.
    agent: str | None = None
    #: Path of the QMP unix socket.
    qmp: str | None = None

    def shares_way(self, other: "Machine") -> bool:
        """Whether both are reached by the same domain, or by the same socket, of one host."""
        by_domain = self.domain is not None and (self.hypervisor, self.domain) == (other.hypervisor, other.domain)
        return by_domain or (self.agent is not None and self.agent == other.agent)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Machine":
        """The machine that `dataclasses.asdict` described."""
        return cls(**document)


@dataclass(frozen=True)
class Retention:
    """How many of a job's snapshots or backups are kept on each machine. 0 and None: there is no such rule."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    #: Seconds before the newest one, within which all are kept.
    keep_within: float | None = None


@dataclass(frozen=True)
class Job:
    """What is configured: which machines, how they are cut, and what is promised."""

    name: str
    machines: tuple[str, ...]
    driver: str
    #: A cron expression in five fields; at most one of `schedule` and `every` is set.
    schedule: str | None = None
    #: Seconds between two runs.
    every: float | None = None
    #: The zone whose wall clocks `schedule` and `blackout` mean, e.g. `Europe/Berlin`; None: the host's.
    timezone: str | None = None
    #: Seconds over which the starts of jobs with the same schedule are spread.
    jitter: float = 0.0
    catch_up: CatchUp = CatchUp.ONCE
    #: Parts of the week in which nothing scheduled begins, as `blackout.parse` takes them.
    blackout: tuple[str, ...] = ()
    #: How many of its machines are worked on at once; None: all.
    max_parallel: int | None = None
    quiesce: Quiesce = Quiesce.REQUIRED
    #: Mount points to freeze; empty means all.
    mountpoints: tuple[str, ...] = ()
    #: True: all machines at one point in time, in one window.
    group: bool = False
    #: Seconds that the guest may take to answer the freeze.
    freeze_timeout: float = 30.0
    #: The longest time, in seconds, between the freeze's answer and the thaw.
    hold_limit: float = 5.0
    #: Seconds after which a one-shot command gives up confirming a thaw.
    thaw_timeout: float = 60.0
    pre_flush: PreFlush = PreFlush.OFF
    #: Seconds after which a process in the guest thaws it by itself, when nobody else has; None: there is none.
    fuse: float | None = None
    #: The folder in which backups are kept; None when the job makes none.
    repository: str | None = None
    #: Seconds after which the next backup is full again.
    full_every: float = 7 * 86400.0
    #: How many incremental backups may stand on a full one; None: as many as there are until `full_every`.
    max_incrementals: int | None = None
    #: The most bytes per second that a backup copies; None: as fast as it can.
    rate: int | None = None
    #: Seconds that a backup's copy, after the thaw, may take.
    copy_limit: float = 86400.0
    #: How each backup is examined when it is published; None: not at all.
    verify: Verify | None = None
    #: A program on this host, with its arguments, that must succeed before anything else is done; empty: none.
    before: tuple[str, ...] = ()
    #: A program on this host, with its arguments, that is run when all is over, however it ended; empty: none.
    after: tuple[str, ...] = ()
    #: Seconds that each of the two may take.
    hook_timeout: float = 600.0
    #: What is kept; None keeps everything.
    retention: Retention | None = None
    #: The driver's own options.
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Job":
        """The job that `dataclasses.asdict` described."""
        tuples = {
            key: tuple(document.get(key, ())) for key in ("machines", "mountpoints", "blackout", "before", "after")
        }
        enums = {
            "quiesce": Quiesce(document["quiesce"]),
            "pre_flush": PreFlush(document["pre_flush"]),
            "catch_up": CatchUp(document.get("catch_up", CatchUp.ONCE)),
        }
        verify = document.get("verify")  # older journals know neither
        retention = document.get("retention")
        kept = {
            "verify": None if verify is None else Verify(verify),
            "retention": None if retention is None else Retention(**retention),
        }
        return cls(**{**document, **tuples, **enums, **kept})


@dataclass(frozen=True)
class Owner:
    """The process that has a run in hand, told apart from any later process with the same number."""

    host: str
    #: The kernel's random id of this boot: after a reboot every process of the host is gone.
    boot: str
    #: 0: nobody of that host has it in hand.
    pid: int
    #: When the process started, in clock ticks since boot (`/proc/PID/stat`, field 22).
    started: int
    #: The inode of its process id namespace, without which its number says nothing; None: an older version's owner.
    namespace: int | None = None
    #: Of one that took the run over: when it will be through with it, in UTC. It does not tell processes apart.
    until: datetime | None = field(default=None, compare=False)

    @property
    def nobody(self) -> "Owner":
        """Who has the run in hand when this process has let it go: whoever of its host comes next takes it."""
        return dataclasses.replace(self, pid=0, started=0, until=None)

    def __str__(self) -> str:
        words = [self.host, self.boot, str(self.pid), str(self.started)]
        if self.namespace is not None:
            words.append(f"ns{self.namespace}")
        if self.until is not None:
            words.append(f"until{self.until.isoformat()}")
        return "/".join(words)

    @classmethod
    def parse(cls, text: str) -> "Owner":
        """The owner that `str` wrote, also that of an older version."""
        text, until = _cut_off(text, "/until")
        text, namespace = _cut_off(text, "/ns")
        host, boot, pid, started = text.rsplit("/", 3)
        return cls(
            host,
            boot,
            int(pid),
            int(started),
            None if namespace is None else int(namespace),
            None if until is None else datetime.fromisoformat(until),
        )


def _cut_off(text: str, mark: str) -> tuple[str, str | None]:
    """What stands before the last slash, and what follows `mark` there; None when something else does."""
    before, slash, last = text.rpartition("/")
    end = slash + last
    return (before, end.removeprefix(mark)) if end.startswith(mark) else (text, None)


@dataclass(frozen=True)
class Step:
    """One entry of the journal: an intent, or its outcome. Never changed, never deleted."""

    machine: str
    action: Action
    outcome: Outcome
    #: Wall-clock time at which the step was made, in UTC.
    at: datetime
    #: Monotonic time at which the step was made, in seconds: comparable within one process only.
    monotonic: float
    #: How long the action took, in milliseconds; None for an intent.
    duration_ms: float | None = None
    #: What the other side answered and what was asked for; only JSON values.
    figures: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def began(self) -> float:
        """Monotonic time at which the action began, in seconds."""
        return self.monotonic - (self.duration_ms or 0.0) / 1000


@dataclass(frozen=True)
class Target:
    """One machine in a run."""

    machine: Machine
    state: State = State.PENDING
    consistency: Consistency = Consistency.NONE
    #: Milliseconds from sending the freeze to the confirmed thaw; None without a freeze.
    window_ms: float | None = None
    #: Milliseconds from the freeze's answer to the thaw's; None without both.
    hold_ms: float | None = None
    #: What the driver made, as it describes it; None when there is no cut.
    snapshot: Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Run:
    """One execution of a job."""

    id: str
    #: None for a run that has no job: a thaw by hand.
    job: Job | None
    trigger: Trigger
    owner: Owner
    started_at: datetime
    targets: tuple[Target, ...]
    state: State = State.PENDING
    consistency: Consistency = Consistency.NONE
    finished_at: datetime | None = None
    #: The time of the job's schedule that it is for; None when nobody waited for the clock.
    scheduled_for: datetime | None = None
    error: str | None = None
    steps: tuple[Step, ...] = ()

    @property
    def snapshot_name(self) -> str:
        """The name of whatever this run cuts: known before the freeze, the same on every machine."""
        return NAME_PREFIX + self.id

    @property
    def window_ms(self) -> float | None:
        """The longest window among the targets, in milliseconds."""
        return max((t.window_ms for t in self.targets if t.window_ms is not None), default=None)

    def target(self, machine: str) -> Target:
        """The target of that machine. Raises KeyError when it is not in this run."""
        return {target.machine.name: target for target in self.targets}[machine]

    def steps_of(self, machine: str) -> tuple[Step, ...]:
        """The steps of one machine, in order."""
        return tuple(step for step in self.steps if step.machine == machine)

    def with_target(self, target: Target) -> "Run":
        """This run with one target replaced."""
        targets = tuple(target if t.machine.name == target.machine.name else t for t in self.targets)
        return dataclasses.replace(self, targets=targets)


@dataclass(frozen=True)
class Snapshot:
    """What a run made of one machine, for as long as it is not certainly gone."""

    #: The run that made it, without its steps.
    run: Run
    machine: Machine
    #: The moment of the cut.
    created_at: datetime
    #: As the driver described it.
    made: Mapping[str, Any]
    #: When its removal began; from then on it cannot be restored. None: it is whole.
    let_go_at: datetime | None = None
    #: It was examined, and the last time found wrong.
    distrusted: bool = False


@dataclass(frozen=True)
class Place:
    """Where the point in time of one disk is now: it moves down when what lies below it is merged away."""

    disk: str
    #: Read through this file, and all that it stands on, the disk is as it was.
    path: str
    #: The space that the file alone takes, in bytes; None where it cannot be looked at.
    size_bytes: int | None
    #: The file directly below; None when there is none.
    stands_on: str | None


@dataclass(frozen=True)
class Located:
    """A snapshot, and where it is."""

    snapshot: Snapshot
    places: tuple[Place, ...] = ()
    #: Why its places are not known now.
    error: str | None = None


class Fate(StrEnum):
    """What pruning made of a snapshot."""

    KEPT = "kept"
    DUE = "due"  # no rule keeps it: the next pruning removes it
    REMOVED = "removed"
    FAILED = "failed"  # its removal did not come to its end: the next pruning goes on with it


@dataclass(frozen=True)
class Pruned:
    """What pruning made of one snapshot, and why."""

    snapshot: Snapshot
    fate: Fate
    #: Every rule that keeps it, or why it goes.
    reasons: tuple[str, ...]
    error: str | None = None


@dataclass(frozen=True)
class Horizon:
    """Up to when the times of a job are decided."""

    #: What its times were then; when they change, all is decided anew.
    schedule: str
    #: When the job was first seen with these times: where the grid of an interval begins.
    first: datetime
    #: Each time up to here was run, or let go.
    until: datetime


@dataclass(frozen=True)
class Pause:
    """A job, or a machine, that scheduled runs leave alone until it is resumed."""

    kind: Pausable
    name: str
    since: datetime
    #: Who wanted it.
    by: str
    reason: str | None = None


@dataclass(frozen=True)
class Coming:
    """When a job is due next."""

    job: str
    #: In UTC.
    times: tuple[datetime, ...]
    #: Set when its runs are let go meanwhile.
    pause: Pause | None = None


@dataclass(frozen=True)
class AgentInfo:
    """What the agent says about itself (`guest-info`)."""

    version: str
    #: The names of the commands that it carries out now.
    enabled: frozenset[str]


@dataclass(frozen=True)
class OsInfo:
    """What the guest says about its operating system (`guest-get-osinfo`). Every field may be missing there."""

    id: str | None
    name: str | None
    version: str | None
    kernel: str | None

    @property
    def windows(self) -> bool:
        return self.id == "mswindows"


@dataclass(frozen=True)
class Filesystem:
    """One mounted file system of the guest (`guest-get-fsinfo`)."""

    mountpoint: str
    #: The block device as the guest names it.
    device: str
    type: str


@dataclass(frozen=True)
class ExecResult:
    """How a command in the guest ended (`guest-exec-status`)."""

    #: None when it was ended by a signal.
    exit_code: int | None
    output: bytes
    error_output: bytes


@dataclass(frozen=True)
class Disk:
    """One writable disk of a machine, as its hypervisor sees it now."""

    #: How the hypervisor names the disk: `vda` for libvirt, the block device or node of bare QEMU.
    name: str
    #: The node that an overlay is put on (bare QEMU); the same as `name` for libvirt.
    node: str
    #: Path of the file on the top of its chain.
    path: str
    format: str
    size_bytes: int


@dataclass(frozen=True)
class DiskCopy:
    """An empty qcow2 file that a disk, or what has changed of it, is copied to."""

    disk: Disk
    path: str


@dataclass(frozen=True)
class Progress:
    """How far something slow is."""

    done_bytes: int
    total_bytes: int
    #: Nothing is left to be done.
    ended: bool


@dataclass(frozen=True)
class Overlay:
    """A file that takes a disk's writes from the cut on, and leaves the file below it as the snapshot."""

    disk: Disk
    path: str


@dataclass(frozen=True)
class StoredDisk:
    """One disk in a backup: a qcow2 file that names no backing file. An incremental's holds only what changed."""

    #: How the hypervisor named the disk: `vda`, or a node of bare QEMU.
    name: str
    #: The size that the guest saw, in bytes.
    virtual_bytes: int
    #: The length of the file in bytes. This and the next are known once the backup is published.
    stored_bytes: int = 0
    #: The SHA-256 of the file, in hexadecimal digits.
    sha256: str = ""

    @property
    def file(self) -> str:
        """The file's name in the backup's folder, safe whatever the disk is called."""
        return quote(self.name, safe="") + ".qcow2"


@dataclass(frozen=True)
class Proof:
    """What a backup's consistency rests on. Counts are of file systems; None where the guest did not answer."""

    frozen: int | None = None
    thawed: int | None = None
    #: Milliseconds from the freeze's answer to the thaw's.
    hold_ms: float | None = None
    #: Milliseconds from sending the freeze to the confirmed thaw.
    window_ms: float | None = None
    #: What was to be frozen; empty means all.
    mountpoints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cut:
    """What is known of a cut when its window is over."""

    at: datetime
    consistency: Consistency
    proof: Proof
    guest_os: OsInfo | None = None


@dataclass(frozen=True)
class Backup:
    """One machine's disks at one point in time, as a repository keeps them: all that a restore needs to know."""

    machine: str
    run_id: str
    job: str
    #: The run whose backup this one stands on; None for a full one.
    parent: str | None
    #: The moment of the cut.
    cut_at: datetime
    consistency: Consistency
    proof: Proof
    disks: tuple[StoredDisk, ...]
    guest_os: OsInfo | None = None
    #: The domain's definition at the cut; None for a machine without libvirt.
    domain_xml: str | None = None


class Flaw(StrEnum):
    """What can be wrong in a repository."""

    DAMAGE = "damage"  # a file is not what it was when its backup was published
    CHAIN = "chain"  # what an incremental stands on is missing or damaged
    STRAY = "stray"  # a file or folder that is no part of a backup
    LEFTOVER = "leftover"  # what a killed run or removal left
    AWAY = "away"  # the repository itself cannot be read


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong in a repository."""

    flaw: Flaw
    #: Where, below the repository's folder.
    path: str
    text: str
    #: The machine and the run whose backup it is about; None for what belongs to neither.
    machine: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Wanted:
    """Which backup is meant: of a run, or the last one of a machine at some time."""

    #: A run's id or its beginning; None: the last one at `at`.
    run: str | None = None
    machine: str | None = None
    at: datetime | None = None


@dataclass(frozen=True)
class Checked:
    """What was found in one repository; nothing: it is as it should be."""

    repository: str
    findings: tuple[Finding, ...]


class ImageFormat(StrEnum):
    """As what a disk is restored."""

    QCOW2 = "qcow2"
    RAW = "raw"


@dataclass(frozen=True)
class RestoredDisk:
    """One disk of a backup as a file of its own, that stands on nothing."""

    name: str
    path: str
    format: ImageFormat


@dataclass(frozen=True)
class Restored:
    """What a restore made."""

    backup: Backup
    repository: str
    disks: tuple[RestoredDisk, ...]
    #: The domain that was defined, and its UUID; None for a restore of the disks alone.
    domain: str | None = None
    uuid: str | None = None


@dataclass(frozen=True)
class ExaminedFilesystem:
    """What the host's tools say of one file system in a backup, as the guest would find it after a power cut."""

    disk: str
    #: Where it begins on the disk, in bytes.
    offset: int
    #: Its type as blkid names it, or what else is there: `swap`, `LVM2_member`.
    type: str
    #: Whether its checker found nothing wrong; None when it was not checked.
    clean: bool | None = None
    #: Whether its journal held something that was not in its place yet; None when that cannot be told.
    needs_recovery: bool | None = None
    #: What is wrong, or why it was not checked.
    text: str | None = None


@dataclass(frozen=True)
class Verified:
    """What an examination of a backup found."""

    backup: Backup
    repository: str
    verify: Verify
    filesystems: tuple[ExaminedFilesystem, ...]
    #: Why the backup is not to be trusted. Empty: it is.
    problems: tuple[str, ...]
    #: Seconds until the guest's agent answered.
    boot_seconds: float | None = None
    #: Why the history does not have this.
    not_journaled: str | None = None


@dataclass(frozen=True)
class Health:
    """Whether a machine could be quiesced now: the pre-flight as a report."""

    machine: str
    power: Power | None = None
    agent_version: str | None = None
    freeze_status: FreezeStatus | None = None
    filesystems: tuple[Filesystem, ...] = ()
    #: What stands in the way, each with what to do about it. Empty: ready.
    problems: tuple[str, ...] = ()
    #: The guest's operating system, as it calls itself.
    os: str | None = None
    #: Whether the agent may run programs (`guest-exec`), which `pre_flush` and looking for hazards need.
    exec_allowed: bool | None = None
    #: What a freeze may stumble over; a machine with hazards is ready all the same.
    hazards: tuple[str, ...] = ()
    #: The open run of this journal that holds the machine, and may have frozen it.
    held_by: str | None = None
    #: Milliseconds from the freeze to the confirmed thaw, of the last runs, newest first.
    last_windows_ms: tuple[float, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Sighting:
    """What was seen of a machine in a sweep."""

    machine: str
    saw: Sight
    #: The open run that keeps it.
    run: str | None = None
    #: Why it is stuck or silent; who holds it.
    detail: str | None = None
