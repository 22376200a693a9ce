"""May this machine be quiesced now? Asked before anything is touched."""

from contextlib import suppress

from orchestrator.clock import Deadline
from orchestrator.errors import (
    CallError,
    CommandDisabled,
    ConfigError,
    FrozenByOther,
    MachineBusy,
    MachineHeld,
    Rejected,
)
from orchestrator.model import AgentInfo, FreezeStatus, Job, OsInfo, Power, Quiesce, Run, State, Target
from orchestrator.ports import Agent, CopyingDriver, Driver, Hypervisor, QuiescingDriver
from orchestrator.retrying import until_answered

#: What a freeze and its thaw need the agent to allow (QEMU, qga/qapi-schema.json).
_NEEDED = ("guest-fsfreeze-status", "guest-fsfreeze-thaw")
_FREEZE, _FREEZE_LIST = "guest-fsfreeze-freeze", "guest-fsfreeze-freeze-list"


def check_job(job: Job, driver: Driver) -> None:
    """Raise ConfigError when the job asks of its driver what that does not do: keeping backups, or, of one that freezes
    by itself, what only our own freeze can give.
    """
    if job.repository is not None and not isinstance(driver, CopyingDriver):
        raise ConfigError(f"job {job.name}: the driver {job.driver} makes no backups; take out repository")
    if not isinstance(driver, QuiescingDriver):
        return
    instead = "or use a driver that leaves the freeze to us, such as external-snapshot"
    if job.quiesce is Quiesce.REQUIRED:
        raise ConfigError(
            f'job {job.name}: quiesce = "required" needs proof, and {job.driver} does not tell how many file systems '
            f'it froze: each of its cuts counts as crash-consistent. Set quiesce = "preferred", {instead}'
        )
    if job.group:
        raise ConfigError(f"job {job.name}: {job.driver} freezes each machine by itself; take out group, {instead}")
    if job.mountpoints:
        raise ConfigError(f"job {job.name}: {job.driver} freezes all file systems; take out mountpoints, {instead}")


def check_power(hypervisor: Hypervisor | None, deadline: Deadline) -> Power | None:
    """What the machine is doing, or None where nobody can tell.

    Raises MachineHeld when it is migrating, Rejected when it does not run, CallError when it cannot be asked.
    """
    if hypervisor is None:
        return None
    power = until_answered(deadline)(hypervisor.power, deadline)
    if power is Power.MIGRATING:
        raise MachineHeld("the machine is migrating")
    if power is Power.OFF:
        raise Rejected("the machine is shut off; start it, or take it out of the job")
    return power


def check_agent(agent: Agent, mountpoints: tuple[str, ...], deadline: Deadline) -> AgentInfo:
    """Afterwards the agent answered, may freeze and thaw, and said that the guest is thawed.

    Raises FrozenByOther, CommandDisabled when a command that we need is missing or blocked, Rejected when one of
    `mountpoints` is none, or CallError.
    """
    until_answered(deadline)(agent.sync, deadline)
    # While frozen, the agent disables everything but thawing, so the status comes first.
    check_thawed(agent, deadline)
    info = until_answered(deadline)(agent.info, deadline)
    freeze = _FREEZE_LIST if mountpoints else _FREEZE
    missing = [command for command in (*_NEEDED, freeze) if command not in info.enabled]
    if missing:
        raise CommandDisabled(
            f"the guest agent {info.version} does not allow {', '.join(missing)}; "
            "allow it in the guest (qemu-ga --blacklist/--block-rpcs, /etc/qemu/qemu-ga.conf)"
        )
    _check_mountpoints(agent, mountpoints, deadline)
    return info


def _check_mountpoints(agent: Agent, mountpoints: tuple[str, ...], deadline: Deadline) -> None:
    """Raise Rejected when the guest has nothing mounted at one of them: its agent would pass over that without a word.

    Windows has several spellings for one, and a guest that does not tell has none that are wrong.
    """
    wanted = {mountpoint for mountpoint in mountpoints if mountpoint.startswith("/")}
    there: set[str] = set()
    if wanted:
        with suppress(CallError):
            there = {filesystem.mountpoint for filesystem in agent.fsinfo(deadline)}
    if there and wanted - there:
        missing, mounted = ", ".join(sorted(wanted - there)), ", ".join(sorted(there))
        raise Rejected(f"the job's mountpoints: no file system is mounted at {missing}; the guest has {mounted}")


def check_thawed(agent: Agent, deadline: Deadline) -> None:
    """Raise FrozenByOther when the agent says that the guest is frozen."""
    if until_answered(deadline)(agent.freeze_status, deadline) is FreezeStatus.FROZEN:
        raise FrozenByOther("the guest's file systems are already frozen, and not by a run of this journal")


def count_filesystems(agent: Agent, deadline: Deadline) -> int | None:
    """How many file systems the guest says it has; None when it does not say. Never raises CallError."""
    with suppress(CallError):
        return len(agent.fsinfo(deadline))
    return None


def guest_os(agent: Agent, deadline: Deadline) -> OsInfo | None:
    """What the guest says about its operating system; None when it does not. Never raises CallError."""
    with suppress(CallError):
        return until_answered(deadline)(agent.osinfo, deadline)
    return None


def busy(run: Run, target: Target) -> MachineBusy:
    """The error for a machine that an open run keeps by `target`."""
    kept = "may still be frozen by the stuck" if target.state is State.STUCK else "is held by the living"
    return MachineBusy(f"{target.machine.name} {kept} run {run.id} ({run.owner})")
