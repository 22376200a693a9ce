"""The runs: what happened, and what happens now."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from orchestrator import documents
from orchestrator.answers import Filter, Mark
from orchestrator.documents import Document
from orchestrator.errors import ConfigError
from orchestrator.model import Consistency, State
from orchestrator.web.parts import Here

router = APIRouter(prefix="/api/v1/runs", tags=["runs"])


def wanted(
    job: str | None = None,
    machine: str | None = None,
    state: State | None = None,
    consistency: Consistency | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Filter:
    """The runs that a query asks for. A time without a zone is in UTC."""
    since, until = (at and (at if at.tzinfo else at.replace(tzinfo=UTC)) for at in (since, until))
    return Filter(job, machine, state, consistency, since, until)


def mark(before: Annotated[str | None, Query(description="`next` of the page before.")] = None) -> Mark | None:
    """The place in the history behind which a page begins."""
    try:
        return None if before is None else Mark.parse(before)
    except ValueError:
        raise ConfigError("`before` must be the `next` of the page before") from None


@router.get("")
def history(
    here: Here,
    which: Annotated[Filter, Depends(wanted)],
    before: Annotated[Mark | None, Depends(mark)],
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """A page of the runs without their steps, the newest first, and where the `next` page begins if there is one."""
    found = here.ledger.page(which, before, limit)
    following = str(Mark.of(found[-1])) if len(found) == limit else None
    return {"runs": [documents.summary(run) for run in found], "next": following}


@router.get("/{run}")
def show(here: Here, run: str) -> Document:
    """One run with its steps, by its id or an unambiguous beginning of it."""
    return documents.run(here.service.show(run))
