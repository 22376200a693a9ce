"""The HTTP API and the page: what a browser or a program on another host enters by. The only room that knows FastAPI,
Starlette and uvicorn.

`make_site` is the application, `listening` opens the sockets that are configured, and `serving` serves the one on the
others beside the scheduler.
"""

from orchestrator.web.feed import Feed
from orchestrator.web.parts import Parts
from orchestrator.web.serving import serving
from orchestrator.web.site import make_site
from orchestrator.web.sockets import listening

__all__ = ["Feed", "Parts", "listening", "make_site", "serving"]
