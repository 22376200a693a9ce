"""Who may do what: each route with the least role that may use it. A route that is not here is used by nobody."""

from collections.abc import Mapping

from orchestrator.model import Role

#: Before a role is known: to log in, and for a supervisor.
EVERYBODY = None

ROLES: Mapping[tuple[str, str], Role | None] = {
    ("GET", "/healthz"): EVERYBODY,
    ("GET", "/readyz"): EVERYBODY,
    ("GET", "/login"): EVERYBODY,
    ("POST", "/login"): EVERYBODY,
    ("GET", "/static/{name}"): EVERYBODY,
    ("POST", "/logout"): Role.VIEWER,
    ("GET", "/"): Role.VIEWER,
    ("GET", "/runs"): Role.VIEWER,
    ("GET", "/runs/{run}"): Role.VIEWER,
    ("GET", "/jobs"): Role.VIEWER,
    ("GET", "/jobs/{job}/run"): Role.OPERATOR,
    ("POST", "/jobs/{job}/run"): Role.OPERATOR,
    ("GET", "/machines"): Role.VIEWER,
    ("GET", "/machines/{machine}"): Role.VIEWER,
    ("GET", "/machines/{machine}/thaw"): Role.OPERATOR,
    ("POST", "/machines/{machine}/thaw"): Role.OPERATOR,
    ("GET", "/metrics"): Role.VIEWER,
    ("GET", "/api/v1/openapi.json"): Role.VIEWER,
    ("GET", "/api/v1/runs"): Role.VIEWER,
    ("POST", "/api/v1/runs"): Role.OPERATOR,
    ("GET", "/api/v1/runs/{run}"): Role.VIEWER,
    ("POST", "/api/v1/runs/{run}/cancel"): Role.OPERATOR,
    ("GET", "/api/v1/events"): Role.VIEWER,
    ("GET", "/api/v1/machines"): Role.VIEWER,
    ("GET", "/api/v1/machines/{machine}/check"): Role.OPERATOR,  # it speaks with the guest
    ("POST", "/api/v1/machines/{machine}/thaw"): Role.OPERATOR,
    ("PUT", "/api/v1/machines/{machine}/pause"): Role.OPERATOR,
    ("DELETE", "/api/v1/machines/{machine}/pause"): Role.OPERATOR,
    ("POST", "/api/v1/recover"): Role.OPERATOR,
    ("GET", "/api/v1/snapshots"): Role.VIEWER,
    ("GET", "/api/v1/jobs"): Role.VIEWER,
    ("GET", "/api/v1/coming"): Role.VIEWER,
    ("GET", "/api/v1/pauses"): Role.VIEWER,
    ("PUT", "/api/v1/jobs/{job}/pause"): Role.OPERATOR,
    ("DELETE", "/api/v1/jobs/{job}/pause"): Role.OPERATOR,
    ("GET", "/api/v1/report"): Role.VIEWER,
    ("GET", "/api/v1/audit"): Role.ADMIN,
}
