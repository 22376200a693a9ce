"""The runs: what happened, and what happens now."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Header, Query, Request, Response

from orchestrator import documents
from orchestrator.answers import Filter, Mark
from orchestrator.documents import Document
from orchestrator.errors import ConfigError
from orchestrator.model import Consistency, State
from orchestrator.web.callers import Asker
from orchestrator.web.json import api_router
from orchestrator.web.parts import Here

router = api_router("/runs", "runs")


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


@dataclass(frozen=True)
class Wanted:
    """A run that is to begin: of a job, on all its machines or on one of them."""

    job: str
    machine: str | None = None


@router.post("", status_code=202)
def start(
    request: Request,
    answer: Response,
    here: Here,
    asker: Asker,
    wanted: Wanted,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> dict[str, str]:
    """Begin a run, and say under which id it is found. It goes on by itself.

    With an `Idempotency-Key` it is begun once, for as long as the journal has it: who asks for the same again under the
    same key is told the same id.
    """
    request.state.subject = f"{wanted.job} {wanted.machine or ''}".strip()
    key = None if idempotency_key is None else f"{asker.who}: {idempotency_key}"
    run = here.demand.start(wanted.job, wanted.machine, key)
    answer.headers["Location"] = f"{router.prefix}/{run}"
    return {"id": run}


@router.post("/{run}/cancel", status_code=202)
def cancel(here: Here, run: str) -> Document:
    """Ask a run of this service to end: its guests are thawed, a copy is ended. The run as it is now, without steps."""
    return documents.summary(here.service.cancel(run))


@router.get("/{run}")
def show(here: Here, run: str) -> Document:
    """One run with its steps, by its id or an unambiguous beginning of it."""
    return documents.run(here.service.show(run))
