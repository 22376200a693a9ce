"""How fast disks are copied: hardly at all until the guest is thawed, and then as fast as the job allows.

At full speed a copy keeps QEMU from what else it has to do: the agent of an emulated guest answered the thaw after
290 ms, and after 30 with the copy held back.
"""

#: Bytes per second of each copy, from the cut to the first look at it.
STILL = 1


def share(rate: int | None, jobs: int) -> int:
    """What each of several jobs may have of a rate in bytes per second; 0, to QEMU and libvirt, is no limit."""
    return 0 if rate is None else max(1, rate // jobs)
