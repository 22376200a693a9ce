"""Routes of the page: an error of theirs is a page, too."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from orchestrator.errors import ConfigError, QuiesceError
from orchestrator.web.page.rendering import rendered
from orchestrator.web.problems import told


class _Page(APIRoute):
    """A route whose errors are told to a person."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        handle = super().get_route_handler()

        async def told_to_people(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                error: QuiesceError = ConfigError("the form is not understood")
            except QuiesceError as raised:
                error = raised
            return rendered(request, "error.html", status=told(error).status_code, error=error)

        return told_to_people


def page_router() -> APIRouter:
    """A router for pages."""
    return APIRouter(include_in_schema=False, route_class=_Page)
