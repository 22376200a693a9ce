"""JSON in ASCII: what a guest said may hold half a character, which no other encoding can carry."""

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """See Starlette."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class Route(APIRoute):
    """A route whose answer goes to `Json` as it is: on the way through a model, half a character would be an error."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **{**options, "response_model": None})


def api_router(prefix: str, tag: str) -> APIRouter:
    """A room of the API, below its version."""
    return APIRouter(prefix=f"/api/v1{prefix}", tags=[tag], default_response_class=Json, route_class=Route)
