"""The seams of the product: what the heart needs from the world, as protocols.

Every call that leaves the process has a deadline and ends in one of four ways: it returns, or it raises
`Unreachable` (nothing was sent), `Rejected` (the other side said no) or `OutcomeUnknown` (sent; no trustworthy
answer). No other exception crosses a seam, whatever a hostile guest or a broken library does.
"""

from orchestrator.ports.access import Audit, Events, Requests, Tokens
from orchestrator.ports.agents import Agent, Observer
from orchestrator.ports.backups import Domains, Examine, Images, Repository
from orchestrator.ports.configured import Configured
from orchestrator.ports.connections import Connections
from orchestrator.ports.drivers import (
    CopyingDriver,
    Driver,
    DriverContext,
    LocatingDriver,
    MergingDriver,
    Plan,
    QuiescingDriver,
    RemovingDriver,
)
from orchestrator.ports.guards import Guard, Lease, Record
from orchestrator.ports.hypervisors import (
    Copies,
    CopyingHypervisor,
    Hypervisor,
    Merges,
    MergingHypervisor,
    QuiescingHypervisor,
)
from orchestrator.ports.journals import Journal, Ledger, Schedules, Statistics
from orchestrator.ports.notices import Memory, Nobody, Notifier
from orchestrator.ports.witnesses import Witness

__all__ = [
    "Agent",
    "Audit",
    "Configured",
    "Connections",
    "Copies",
    "CopyingDriver",
    "CopyingHypervisor",
    "Domains",
    "Driver",
    "DriverContext",
    "Events",
    "Examine",
    "Guard",
    "Hypervisor",
    "Images",
    "Journal",
    "Lease",
    "Ledger",
    "LocatingDriver",
    "Memory",
    "Merges",
    "MergingDriver",
    "MergingHypervisor",
    "Nobody",
    "Notifier",
    "Observer",
    "Plan",
    "QuiescingDriver",
    "QuiescingHypervisor",
    "Record",
    "RemovingDriver",
    "Repository",
    "Requests",
    "Schedules",
    "Statistics",
    "Tokens",
    "Witness",
]
