"""The runs: what happened, and what happens now."""

from typing import Annotated

from fastapi import APIRouter, Query

from orchestrator import documents
from orchestrator.documents import Document
from orchestrator.model import State
from orchestrator.web.parts import Here

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])


@router.get("")
def history(
    here: Here,
    job: str | None = None,
    machine: str | None = None,
    state: State | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[Document]:
    """The newest runs without their steps: stuck ones first."""
    return [documents.summary(run) for run in here.service.history(limit, job=job, machine=machine, state=state)]


@router.get("/{run}")
def show(here: Here, run: str) -> Document:
    """One run with its steps, by its id or an unambiguous beginning of it."""
    return documents.run(here.service.show(run))
