"""Whether the next backup can stand on the last one, by what the repository and the machine's disks tell."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.model import Backup, Disk


def why_full(
    chain: Sequence[Backup], disks: Sequence[Disk], now: datetime, full_every: float, max_incrementals: int | None
) -> str | None:
    """Why the next backup must be full again; None when it can stand on the last of `chain`.

    `chain` are a full backup and all that stand on each other above it, `full_every` are seconds.
    """
    if now - chain[0].cut_at >= timedelta(seconds=full_every):
        return f"the last full backup, {chain[0].run_id}, has reached the age of full_every"
    if max_incrementals is not None and len(chain) > max_incrementals:
        return f"{len(chain) - 1} incremental backups stand on {chain[0].run_id}: max_incrementals are reached"
    before = {disk.name: disk.virtual_bytes for disk in chain[-1].disks}
    after = {disk.name: disk.size_bytes for disk in disks}
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            return f"the disk {name} was added since {chain[-1].run_id}"
        if name not in after:
            return f"the disk {name} was removed since {chain[-1].run_id}"
        if before[name] != after[name]:
            return f"the disk {name} had {before[name]} bytes in {chain[-1].run_id}, and has {after[name]} now"
    return None
