"""JSON in ASCII: what a guest said may hold half a character, which no other encoding can carry."""

import json
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse


class Json(JSONResponse):
    """An answer in JSON."""

    def render(self, content: Any) -> bytes:
        """See Starlette."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


def api_router(prefix: str, tag: str) -> APIRouter:
    """A room of the API, below its version."""
    return APIRouter(prefix=f"/api/v1{prefix}", tags=[tag], default_response_class=Json)
