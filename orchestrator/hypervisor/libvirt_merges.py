"""Merging overlays of a libvirt domain: `virDomainBlockCommit`, and the pivot when it is the active layer."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import libvirt

from orchestrator.clock import Deadline
from orchestrator.errors import OutcomeUnknown, Rejected
from orchestrator.hypervisor.domain_xml import chains, is_live, is_ready, layers
from orchestrator.model import Progress

T = TypeVar("T")

#: Seconds between two looks at a job that was cancelled.
_LOOK = 0.1
_COMMITS = (libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_COMMIT, libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT)


class Call(Protocol):
    """Does work with the domain, as `LibvirtDomain` does."""

    def __call__(self, what: str, work: Callable[[libvirt.virDomain], T], deadline: Deadline) -> T: ...


class LibvirtMerges:
    """Keeps the promises of `ports.Merges` for one domain. libvirt lets a disk have one job at a time."""

    def __init__(self, call: Call, *, delete: bool) -> None:
        """`delete`: libvirt is to remove the files that it has merged, because they are on another host."""
        self._call = call
        self._flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_DELETE if delete else 0

    def chains(self, deadline: Deadline) -> Mapping[str, tuple[str, ...]]:
        """By the domain's live definition.

        That of one that is off names the tops alone, so it is Rejected: no layer must be taken for one that is merged.
        """

        def look(domain: libvirt.virDomain) -> Mapping[str, tuple[str, ...]]:
            described = domain.XMLDesc()
            if not is_live(described):
                raise Rejected("the machine is off: its overlays are merged when it runs")
            return chains(described)

        return self._call("its chains", look, deadline)

    def begin(self, disk: str, overlay: str, below: str, deadline: Deadline) -> None:
        """`virDomainBlockCommit` of one layer."""

        def commit(domain: libvirt.virDomain) -> None:
            active = chains(domain.XMLDesc())[disk][0] == overlay
            flags = self._flags | (libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE if active else 0)
            domain.blockCommit(disk, below, overlay, 0, flags)

        self._call(f"the merge of {overlay}", commit, deadline)

    def progress(self, disk: str, overlay: str, deadline: Deadline) -> Progress | None:
        """By `virDomainGetBlockJobInfo`, which tells of no failure: then the overlay just stays in the chain."""

        def look(domain: libvirt.virDomain) -> Progress | None:
            job = domain.blockJobInfo(disk)
            if not job or job["type"] not in _COMMITS:
                return None
            if job["type"] == libvirt.VIR_DOMAIN_BLOCK_JOB_TYPE_ACTIVE_COMMIT and is_ready(domain.XMLDesc(), disk):
                domain.blockJobAbort(disk, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
            return Progress(job["cur"], job["end"], ended=False)

        return self._call(f"the merge of {overlay}", look, deadline)

    def cancel(self, disk: str, overlay: str, deadline: Deadline) -> None:
        """`virDomainBlockJobAbort`, and wait for the end: until then the disk takes no other job."""

        def merging(domain: libvirt.virDomain) -> bool:
            return (domain.blockJobInfo(disk) or {}).get("type") in _COMMITS

        def abort(domain: libvirt.virDomain) -> None:
            if merging(domain) and overlay in chains(domain.XMLDesc()).get(disk, ()):
                domain.blockJobAbort(disk)

        self._call(f"the end of the merge of {overlay}", abort, deadline)
        while self._call(f"the end of the merge of {overlay}", merging, deadline):
            if deadline.passed:
                raise OutcomeUnknown(f"libvirt did not end the merge of {overlay} in time")
            deadline.clock.sleep(_LOOK)

    def close(self, overlay: str, deadline: Deadline) -> None:
        """Only a look: libvirt closes what no disk stands on."""

        def look(domain: libvirt.virDomain) -> None:
            if any(overlay in layers(domain.XMLDesc(flags)) for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE)):
                raise Rejected(f"{overlay} is in use")

        self._call(f"whether it uses {overlay}", look, deadline)
