"""Disks that are one file each, for drivers that keep files as they are at the cut."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from orchestrator.clock import Deadline
from orchestrator.errors import ConfigError, OutcomeUnknown, Rejected
from orchestrator.model import Disk
from orchestrator.ports import DriverContext, Hypervisor
from orchestrator.programs import run


def hypervisor_here(context: DriverContext, driver: str) -> Hypervisor:
    """The machine's hypervisor. Raises ConfigError when it has none, or one whose files are on another host."""
    if context.hypervisor is None or not context.hypervisor.local:
        raise ConfigError(
            f"job {context.job}: the driver {driver} needs a `hypervisor` on this host, or `qmp`, for the machine "
            f"{context.machine.name}"
        )
    return context.hypervisor


def whole_disks(hypervisor: Hypervisor, deadline: Deadline) -> Sequence[Disk]:
    """The machine's disks. Raises Rejected when there is none, or one stands on another file: that file may change, by
    a merge or by another hand, and what was kept of the top alone would change with it.
    """
    disks = hypervisor.disks(deadline)
    if not disks:
        raise Rejected("the machine has no writable disk")
    for disk in disks:
        below = None if disk.format == "raw" else backing(disk.path, deadline)
        if below is not None:
            raise Rejected(
                f"the disk {disk.name} ({disk.path}) stands on {below}: this driver keeps disks of one file only. "
                "Merge its snapshots first (`quiesce prune`, `virsh blockcommit`), or use external-snapshot"
            )
    return disks


def sync_folder(path: Path) -> None:
    """Let the names in a folder survive a loss of power."""
    opened = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def backing(path: str, deadline: Deadline) -> str | None:
    """The file that an image itself says it stands on; None when there is none. Raises OutcomeUnknown."""
    ended = run(["qemu-img", "info", "--force-share", "--output=json", path], deadline)
    try:
        below = json.loads(ended.output).get("backing-filename")
    except (ValueError, AttributeError) as error:
        raise OutcomeUnknown(f"cannot tell what {path} stands on: {ended.output}") from error
    return None if below is None else str(below)
