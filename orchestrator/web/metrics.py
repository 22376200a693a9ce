"""What Prometheus reads."""

from fastapi import APIRouter, Response

from orchestrator.web.parts import Here

router = APIRouter(tags=["health"])

#: Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats).
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics", response_class=Response)
def metrics(here: Here) -> Response:
    """The service's metrics in Prometheus' text format, also while the journal is away."""
    return Response(here.metrics(), media_type=CONTENT_TYPE)
