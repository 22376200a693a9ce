"""The application: all routes, over what they are served from."""

from fastapi import FastAPI

from orchestrator.web import health, metrics, page, runs
from orchestrator.web.parts import Parts
from orchestrator.web.problems import tell_problems


def make_site(parts: Parts) -> FastAPI:
    """The API and the page over `parts`."""
    site = FastAPI(title="quiesce", openapi_url="/api/v1/openapi.json", docs_url=None, redoc_url=None)
    site.state.parts = parts
    tell_problems(site)
    for room in (health, metrics, runs, page):
        site.include_router(room.router)
    return site
