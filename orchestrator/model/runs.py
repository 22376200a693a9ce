"""What happened: runs, their targets, and their steps."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from orchestrator.model.jobs import Job
from orchestrator.model.machines import Machine

#: The prefix of every name that we give to a snapshot, a node or a file. Nothing without it is ever deleted.
NAME_PREFIX = "quiesce-"


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

    @property
    def proven(self) -> bool:
        """The guest is proven to have been frozen through the cut."""
        return self in {Consistency.APPLICATION, Consistency.FILESYSTEM}


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
