"""What the records say as a whole: how it went lately, and who did what."""

from typing import Annotated

from fastapi import Query

from orchestrator import documents
from orchestrator.documents import Document
from orchestrator.web.json import api_router
from orchestrator.web.parts import Here

router = api_router("", "records")

Days = Annotated[int, Query(ge=1, le=36500)]


@router.get("/report")
def report(here: Here, days: Days = 30, overdue: Days = 7) -> Document:
    """What was not quiesced in the last `days`, who was frozen longest, and who has no good run in `overdue` days."""
    return documents.report(here.report(days, overdue))


@router.get("/audit")
def audit(here: Here, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[Document]:
    """Who changed what, when and from where, and what was refused: the newest first."""
    return [documents.deed(deed) for deed in here.audit.newest(limit)]
