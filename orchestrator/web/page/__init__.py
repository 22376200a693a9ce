"""The page: what a person sees in a browser. It can be read, and acted by, without JavaScript; what there is only keeps
an open page true.
"""

from fastapi import APIRouter

from orchestrator.web.page import acting, assets, looking

router = APIRouter()
for room in (assets, looking, acting):
    router.routes.extend(room.router.routes)
