"""The files that a page loads: its own style, script and mark, and nothing from elsewhere."""

import hashlib
from importlib import resources

from fastapi import APIRouter, Response

from orchestrator.errors import NotFound

router = APIRouter(include_in_schema=False)

_TYPES = {"page.css": "text/css", "page.js": "text/javascript", "mark.svg": "image/svg+xml"}
_FOLDER = resources.files("orchestrator.web.page") / "static"
_CONTENTS = {name: (_FOLDER / name).read_bytes() for name in _TYPES}
_HEADERS = {"Cache-Control": "public, max-age=31536000, immutable"}


def address(name: str) -> str:
    """Where a file is. It changes with what is in the file, so that a browser may keep it for ever."""
    return f"/static/{name}?{hashlib.sha256(_CONTENTS[name]).hexdigest()[:12]}"


@router.get("/static/{name}")
def asset(name: str) -> Response:
    """One of the page's files."""
    if name not in _CONTENTS:
        raise NotFound(f"there is no file {name!r}")
    return Response(_CONTENTS[name], media_type=_TYPES[name], headers=_HEADERS)
