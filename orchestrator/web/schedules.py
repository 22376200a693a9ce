"""The jobs: what is configured, when it is due, and what is kept from running."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from orchestrator import documents
from orchestrator.documents import Document
from orchestrator.errors import NotFound
from orchestrator.model import Pausable, Pause
from orchestrator.web.callers import Asker
from orchestrator.web.json import api_router
from orchestrator.web.parts import Here

router = api_router("", "schedules")


@dataclass(frozen=True)
class Why:
    """Why something is paused, for who finds it so."""

    reason: str | None = None


@router.get("/jobs")
def jobs(here: Here) -> list[Document]:
    """The configured jobs, with durations in seconds."""
    return [documents.job(job) for job in here.service.jobs.values()]


@router.get("/coming")
def coming(here: Here, count: Annotated[int, Query(ge=1, le=1000)] = 1) -> list[Document]:
    """When each job that has a schedule is due, the next `count` times."""
    return [documents.coming(job) for job in here.coming(count)]


@router.get("/pauses")
def pauses(here: Here) -> list[Document]:
    """The jobs and machines that scheduled runs leave alone."""
    return [documents.pause(pause) for pause in here.schedules.pauses()]


@router.put("/jobs/{job}/pause")
def pause_job(here: Here, asker: Asker, job: str, why: Why) -> Document:
    """Keep a job out of scheduled runs until it is resumed. What comes due meanwhile is let go."""
    return _pause(here, asker, Pausable.JOB, job, why)


@router.put("/machines/{machine}/pause")
def pause_machine(here: Here, asker: Asker, machine: str, why: Why) -> Document:
    """Keep a machine out of scheduled runs until it is resumed."""
    return _pause(here, asker, Pausable.MACHINE, machine, why)


@router.delete("/jobs/{job}/pause")
def resume_job(here: Here, job: str) -> Document:
    """Let scheduled runs of a job begin again."""
    return _changed(Pausable.JOB, job, False, here.schedules.resume(Pausable.JOB, job))


@router.delete("/machines/{machine}/pause")
def resume_machine(here: Here, machine: str) -> Document:
    """Let scheduled runs have a machine again."""
    return _changed(Pausable.MACHINE, machine, False, here.schedules.resume(Pausable.MACHINE, machine))


def _pause(here: Here, asker: Asker, kind: Pausable, name: str, why: Why) -> Document:
    known = here.service.jobs if kind is Pausable.JOB else here.service.machines
    if name not in known:
        raise NotFound.in_configuration(kind, name, known)
    pause = Pause(kind, name, datetime.now(UTC), f"{asker.who} from {asker.origin}", why.reason)
    return _changed(kind, name, True, here.schedules.pause(pause))


def _changed(kind: Pausable, name: str, paused: bool, changed: bool) -> Document:
    return {"kind": kind, "name": name, "paused": paused, "changed": changed}
