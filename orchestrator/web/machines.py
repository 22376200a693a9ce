"""The machines: what they are, whether they could be quiesced now, and a thaw by hand."""

from dataclasses import dataclass

from orchestrator import documents
from orchestrator.documents import Document
from orchestrator.errors import ConfigError
from orchestrator.web.json import api_router
from orchestrator.web.parts import Here

router = api_router("/machines", "machines")


@router.get("")
def machines(here: Here) -> list[Document]:
    """The configured machines, and the ways to them."""
    return [documents.machine(machine) for machine in here.service.machines.values()]


@router.get("/{machine}/check")
def check(here: Here, machine: str) -> Document:
    """Ask a machine whether it could be quiesced now, and how it did lately."""
    return documents.health(here.service.check(machine))


@dataclass(frozen=True)
class Thaw:
    """How a machine is to be thawed: with `force` also when somebody else froze it; with a `reason` too, a stuck run is
    closed on the asker's word.
    """

    force: bool = False
    reason: str | None = None


@router.post("/{machine}/thaw")
def thaw(here: Here, machine: str, how: Thaw) -> Document:
    """Thaw a machine by hand, and return the run in whose history that is, with its steps."""
    if how.reason is not None and not (how.force and how.reason.strip()):
        raise ConfigError("`reason` goes with `force`: it closes a stuck run on your word, without a thaw")
    return documents.run(here.service.thaw(machine, force=how.force, reason=how.reason))


@dataclass(frozen=True)
class Recover:
    """With `all`, every configured machine is looked at afterwards."""

    all: bool = False


recovery = api_router("", "machines")


@recovery.post("/recover")
def recover(here: Here, how: Recover) -> Document:
    """Settle the runs of processes that died, and try stuck guests again; say what was seen of each machine then."""
    if not how.all:
        return {"runs": [documents.summary(run) for run in here.service.recover()], "machines": []}
    runs, sightings = here.service.sweep()
    seen = [documents.sighting(sighting) for sighting in sightings]
    return {"runs": [documents.summary(run) for run in runs], "machines": seen}


@recovery.get("/snapshots")
def snapshots(here: Here, machine: str | None = None) -> list[Document]:
    """The snapshots and backups that are there, of one machine or of all, the oldest first, and where each is now."""
    return [documents.located(located) for located in here.service.snapshots(machine)]
