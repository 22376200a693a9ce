"""The pages by which something is done: each is asked for, shows what would happen, and is confirmed by a form."""

import secrets
from datetime import UTC, datetime
from typing import Annotated

from fastapi import Form, Request, Response
from fastapi.responses import RedirectResponse

from orchestrator.errors import ConfigError, NotFound
from orchestrator.model import Job
from orchestrator.web.callers import Asker
from orchestrator.web.page.held import held
from orchestrator.web.page.rendering import rendered
from orchestrator.web.page.routing import page_router
from orchestrator.web.parts import Here, Parts

router = page_router()


@router.get("/jobs/{job}/run")
def ask_run(request: Request, here: Here, job: str, machine: str = "") -> Response:
    """What a run of a job would do. The form that begins it does so once, however often it is sent."""
    spec = _job(here, job)
    return rendered(request, "ask_run.html", job=spec, machine=machine, key=secrets.token_urlsafe(12))


@router.post("/jobs/{job}/run")
def run(
    here: Here, asker: Asker, job: str, key: Annotated[str, Form(max_length=100)], machine: Annotated[str, Form()] = ""
) -> Response:
    """Begin a run, and show it."""
    begun = here.demand.start(job, machine or None, f"{asker.who}: page {key}")
    return RedirectResponse(f"/runs/{begun}", 303)


@router.get("/machines/{machine}/thaw")
def ask_thaw(request: Request, here: Here, machine: str) -> Response:
    """What a thaw by hand would do, and what holds the machine now."""
    if machine not in here.service.machines:
        raise NotFound.in_configuration("machine", machine, here.service.machines)
    holding = [each for each in held(here.ledger.overview(datetime.now(UTC), 0).open) if each.machine == machine]
    return rendered(request, "ask_thaw.html", machine=machine, holding=holding)


@router.post("/machines/{machine}/thaw")
def thaw(
    here: Here, machine: str, force: Annotated[bool, Form()] = False, reason: Annotated[str, Form()] = ""
) -> Response:
    """Thaw a machine, and show the run in whose history that is."""
    if reason.strip() and not force:
        raise ConfigError("a reason goes with force: it closes a stuck run on your word, without a thaw")
    run = here.service.thaw(machine, force=force, reason=reason.strip() or None)
    return RedirectResponse(f"/runs/{run.id}", 303)


def _job(here: Parts, name: str) -> Job:
    if name not in here.service.jobs:
        raise NotFound.in_configuration("job", name, here.service.jobs)
    return here.service.jobs[name]
