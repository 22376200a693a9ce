"""The application: all routes, over what they are served from, behind the gate."""

from typing import Any

from fastapi import FastAPI, Request

from orchestrator.clock import Clock
from orchestrator.web import events, health, login, machines, metrics, page, records, runs, schedules
from orchestrator.web.callers import Callers
from orchestrator.web.gate import Gate
from orchestrator.web.parts import Parts
from orchestrator.web.problems import tell_problems


def make_site(parts: Parts, clock: Clock) -> Gate:
    """The API and the page over `parts`."""
    site = FastAPI(title="quiesce", openapi_url=None)
    site.state.parts = parts
    site.state.callers = Callers(parts.tokens, clock)
    tell_problems(site)
    rooms = (health, login, metrics, runs, events, machines, schedules, records, page)
    for router in (*(room.router for room in rooms), machines.recovery):
        site.router.routes.extend(router.routes)  # one flat list: the gate looks up the roles by it

    @site.get("/api/v1/openapi.json", include_in_schema=False)
    def description(request: Request) -> dict[str, Any]:
        """What the API can do, as OpenAPI describes it."""
        bearer = {"bearer": {"type": "http", "scheme": "bearer"}}
        document = site.openapi()
        components = {**document.get("components", {}), "securitySchemes": bearer}
        return {**document, "components": components, "security": [{"bearer": []}]}

    return Gate(site, site.routes, site.state.callers, parts.audit, clock)
