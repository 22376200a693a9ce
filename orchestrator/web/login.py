"""The door of the page: a token is shown once, and the browser is known by a cookie afterwards."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from orchestrator.tokens import digest_of
from orchestrator.web.callers import COOKIE, Caller, Callers
from orchestrator.web.page.rendering import rendered
from orchestrator.web.problems import Refusal
from orchestrator.web.sessions import LASTS

router = APIRouter(include_in_schema=False)


@router.get("/login")
def form(request: Request) -> Response:
    """Where the token is asked for."""
    return rendered(request, "login.html", why=None)


@router.post("/login")
def log_in(
    request: Request, token: Annotated[str, Form()], then: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """Begin a session with the token, and go on to the page that was asked for."""
    callers: Callers = request.app.state.callers
    before: Caller = request.state.caller
    try:
        found = callers.token(token, request.client.host if request.client else "nowhere")
    except Refusal as refusal:
        return rendered(request, "login.html", status=refusal.status, why=str(refusal))
    request.state.caller = Caller.of(found, before.origin)
    answer = RedirectResponse(then if then.startswith("/") and then[1:2] not in {"/", "\\"} else "/", 303)
    session = callers.sessions.begin(digest_of(token))
    answer.set_cookie(COOKIE, session, int(LASTS), secure=True, httponly=True, samesite="strict")
    return answer


@router.post("/logout")
def log_out(request: Request) -> RedirectResponse:
    """End the session."""
    callers: Callers = request.app.state.callers
    callers.sessions.end(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, secure=True, httponly=True, samesite="strict")
    return answer
