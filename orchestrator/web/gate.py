"""The gate: every request passes here before a route sees it, and what it changed is written down when it is answered.

Its host, who asks, whether their role is enough, and whether it is their browser's own page that asks for them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.clock import Clock
from orchestrator.errors import JournalError
from orchestrator.model import Deed
from orchestrator.ports import Audit
from orchestrator.web.callers import UID, Caller, Callers, unknown
from orchestrator.web.problems import Refusal, told
from orchestrator.web.roles import ROLES

#: The largest body of a request, in bytes, and the seconds that it may take to come.
LARGEST, SLOWEST = 64 * 1024, 10.0
#: What changes nothing.
_SAFE = {"GET", "HEAD", "OPTIONS"}
#: What goes with every answer that does not say otherwise.
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
#: Characters of a subject that the audit keeps.
_SUBJECT = 500

log = structlog.get_logger()


class Gate:
    """An ASGI application in front of the site."""

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute], callers: Callers, audit: Audit, clock: Clock) -> None:
        self._app, self.routes = app, routes
        self._callers, self._audit, self._clock = callers, audit, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        path, parameters = self._route(scope)
        state = scope.setdefault("state", {})
        state["caller"] = Caller("nobody", None, (scope["client"] or ("nowhere", 0))[0])
        state["subject"] = " ".join(map(str, parameters.values()))
        send = partial(self._answer, scope, path, send)
        try:
            await run_in_threadpool(self._admit, scope, path)
        except Refusal as refusal:
            answer: Response = refusal.answer
            if refusal.status == 401 and _is_page(scope):
                answer = RedirectResponse(f"/login?next={quote(scope['path'])}", 303)
            await answer(scope, receive, send)
        except JournalError as error:
            await told(error)(scope, receive, send)
        else:
            await self._app(scope, _bounded(receive), send)

    def _route(self, scope: Scope) -> tuple[str | None, Mapping[str, Any]]:
        """The path of the request's route, as the API's description has it, and what stands there for its names."""
        for route in self.routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                return getattr(route, "path", None), child.get("path_params", {})
        return None, {}

    def _admit(self, scope: Scope, path: str | None) -> None:
        """Let the request pass, or raise Refusal or JournalError."""
        headers, method = Headers(scope=scope), scope["method"]
        _check_host(scope, headers)
        if int(headers.get("content-length", "0")) > LARGEST:
            raise Refusal(413, "TooLarge", "The body is too large", f"at most {LARGEST} bytes")
        caller = self._callers.identify(scope["client"], headers, cookie_parser(headers.get("cookie", "")))
        scope["state"]["caller"] = caller
        if path is None:
            return  # there is nothing, and everybody may know
        if (method, path) not in ROLES:
            raise Refusal(403, "Forbidden", "Nobody may do that", "no role is known for it")
        needed = ROLES[method, path]
        if needed is not None:
            if caller.role is None:
                raise unknown("this needs a token")
            if not caller.role.may(needed):
                detail = f"{caller.who} is {caller.role}, and this is for who is {needed}"
                raise Refusal(403, "Forbidden", "Your role is not enough", detail)
        if method not in _SAFE and (caller.by_cookie or caller.role is None) and not _is_own_page(headers):
            raise Refusal(403, "ForeignPage", "Another page asked for this", "the request did not come from this page")

    async def _answer(self, scope: Scope, path: str | None, send: Send, message: Message) -> None:
        """Write down what is answered, and then send it."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if path is not None and (scope["method"] not in _SAFE or message["status"] in {401, 403}):
                await run_in_threadpool(self._record, scope, path, message["status"])
        await send(message)

    def _record(self, scope: Scope, path: str, status: int) -> None:
        if status == 429:  # whoever tries again and again fills no journal
            return
        state = scope["state"]
        caller: Caller = state["caller"]
        act, subject = f"{scope['method']} {path}", state["subject"][:_SUBJECT]
        try:
            self._audit.record(Deed(self._clock.now(), caller.who, caller.origin, act, subject, status))
        except JournalError as error:
            log.error("not audited", who=caller.who, origin=caller.origin, act=act, status=status, error=str(error))


def _check_host(scope: Scope, headers: Headers) -> None:
    """A page of elsewhere can let its own name lead to this host, and its browser ask us. With TLS it would need our
    certificate; without, we go by no name but `localhost`.
    """
    if scope["scheme"] == "https" or not scope["client"] or scope["client"][0].startswith(UID):
        return
    with suppress(ValueError):
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        if name != "localhost":
            ip_address(name)
        return
    raise Refusal(421, "WrongHost", "This host has another name", "without TLS, ask by an address or by `localhost`")


def _is_own_page(headers: Headers) -> bool:
    """Whether the browser says that the page which asks is ours."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(headers.get("origin", "")).netloc == headers.get("host", "nowhere")


def _is_page(scope: Scope) -> bool:
    return scope["method"] == "GET" and "text/html" in Headers(scope=scope).get("accept", "")


def _bounded(receive: Receive) -> Receive:
    """A body that is neither too large nor too slow."""
    left, late, whole = LARGEST, asyncio.get_running_loop().time() + SLOWEST, False

    async def bounded() -> Message:
        nonlocal left, whole
        if whole:
            return await receive()  # which tells when the client goes
        try:
            async with asyncio.timeout_at(late):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, "the body came too slowly") from None
        left -= len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if left < 0:
            raise HTTPException(413, f"the body is larger than {LARGEST} bytes")
        return message

    return bounded
