"""Whether the service lives, and whether it can work: for a supervisor, without a token."""

from fastapi import APIRouter

from orchestrator.web.parts import Here

router = APIRouter(tags=["health"])


@router.get("/healthz")
def alive() -> dict[str, str]:
    """The service answers."""
    return {"status": "alive"}


@router.get("/readyz")
def ready(here: Here) -> dict[str, str]:
    """The service and its journal answer. Without the journal: 503."""
    here.schedules.pauses()
    return {"status": "ready"}
