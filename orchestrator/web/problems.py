"""Errors as problem documents (RFC 9457): what happened, and what to do next."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from orchestrator.errors import (
    CallError,
    ConfigError,
    JournalUnavailable,
    NotFound,
    QuiesceError,
    Refused,
    Superseded,
)
from orchestrator.web.json import Json

#: How `type` begins; what follows is the kind of the error, as `quiesce --json` has it.
TYPE = "urn:quiesce:"

#: The first that fits counts.
_STATUS: tuple[tuple[type[QuiesceError], int, str], ...] = (
    (NotFound, 404, "There is no such thing"),
    (ConfigError, 422, "That cannot be done with this configuration"),
    (Refused, 409, "Somebody else holds the machine"),
    (Superseded, 409, "Somebody else was faster"),
    (JournalUnavailable, 503, "The journal cannot be used now"),
    (CallError, 502, "A guest, a hypervisor or a driver did not do it"),
    (QuiesceError, 500, "It was not done"),
)


class Refusal(Exception):
    """A request is refused before any route sees it."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.answer = problem(status, kind, title, detail, advice, headers)


def problem(
    status: int, kind: str, title: str, detail: str, advice: str = "", headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer that tells of a problem."""
    document = {"type": TYPE + kind, "title": title, "status": status, "detail": detail}
    if advice:
        document["advice"] = advice
    return Json(document, status, headers, media_type="application/problem+json")


def told(error: QuiesceError) -> JSONResponse:
    """The answer that tells of one of our errors."""
    status, title = next((status, title) for kind, status, title in _STATUS if isinstance(error, kind))
    return problem(status, type(error).__name__, title, str(error), error.advice)


def tell_problems(site: FastAPI) -> None:
    """Let every error of a route be told as a problem document."""

    @site.exception_handler(QuiesceError)
    def _(request: Request, error: QuiesceError) -> JSONResponse:
        return told(error)

    @site.exception_handler(Exception)
    def _(request: Request, error: Exception) -> JSONResponse:
        """This program is wrong somewhere; the log says where."""
        return problem(500, "Defect", "This is a defect of quiesce", type(error).__name__)

    @site.exception_handler(Refusal)
    def _(request: Request, error: Refusal) -> JSONResponse:
        return error.answer

    @site.exception_handler(RequestValidationError)
    def _(request: Request, error: RequestValidationError) -> JSONResponse:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:10])
        return problem(422, "Invalid", "The request is not understood", wrong)

    @site.exception_handler(HTTPException)
    def _(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, "Http", error.detail, error.detail, headers=error.headers)
