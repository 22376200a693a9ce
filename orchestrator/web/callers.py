"""Who asks: a process of this host, somebody with a token, or a browser that is logged in."""

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from fastapi import Depends, Request

from orchestrator.clock import Clock
from orchestrator.model import Role, Token
from orchestrator.ports import Tokens
from orchestrator.tokens import digest_of
from orchestrator.web.attempts import Attempts
from orchestrator.web.problems import Refusal
from orchestrator.web.sessions import Sessions

#: The cookie of a session. With this prefix no other host, and nothing without TLS but loopback, can set it.
COOKIE = "__Host-quiesce"
#: What stands before the user's number in the address of a process of this host. No address of a network has it.
UID = "uid "

#: More characters are no token of ours.
_LONGEST = 200


@dataclass(frozen=True)
class Caller:
    """Who asks, what they may do, and from where."""

    who: str
    #: None: nobody whom we know.
    role: Role | None
    origin: str
    #: Known by a cookie, which a browser sends with whatever any page makes it ask.
    by_cookie: bool = False

    @classmethod
    def of(cls, token: Token, origin: str, *, by_cookie: bool = False) -> Self:
        """Who has that token."""
        return cls(f"token {token.name}", token.role, origin, by_cookie)


class Callers:
    """Tells who asks."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens, self._clock = tokens, clock
        self._attempts = Attempts(clock)
        self.sessions = Sessions(clock)

    def identify(
        self, client: tuple[str, int] | None, headers: Mapping[str, str], cookies: Mapping[str, str]
    ) -> Caller:
        """Who it is. Raises Refusal for a token that is none, and JournalError."""
        address, port = client or ("nowhere", 0)
        process = address.startswith(UID)
        origin = f"{address} of this host" if process else address
        if "authorization" in headers:
            scheme, _, secret = headers["authorization"].partition(" ")
            token = self.token(secret.strip() if scheme.lower() == "bearer" else "", address)
            return Caller.of(token, origin)
        if process and (uid := int(address.removeprefix(UID))) in {0, os.geteuid()}:
            return Caller(f"user {_user(uid)}", Role.ADMIN, f"process {port} of this host")
        digest = self.sessions.token(cookies.get(COOKIE, ""))
        found = None if digest is None else self._tokens.find(digest)
        if found is not None and found.holds(self._clock.now()):
            return Caller.of(found, origin, by_cookie=True)
        return Caller("nobody", None, origin)

    def token(self, secret: str, address: str) -> Token:
        """The token with that secret. Raises Refusal when there is none, or after too many failures of that address."""
        wait = self._attempts.wait(address)
        if wait:
            headers = {"Retry-After": str(wait)}
            raise Refusal(429, "TooManyFailures", "Too many wrong tokens", f"try again in {wait} s", headers)
        found = self._tokens.find(digest_of(secret)) if len(secret) <= _LONGEST else None
        if found is None or not found.holds(self._clock.now()):
            self._attempts.failed(address)
            raise unknown("there is no such token, or it holds no longer")
        return found


def unknown(detail: str) -> Refusal:
    """The refusal of somebody whom we do not know."""
    headers = {"WWW-Authenticate": 'Bearer realm="quiesce"'}
    advice = "Give a token that `quiesce token create` made, as `Authorization: Bearer TOKEN`."
    return Refusal(401, "Unknown", "Nobody knows who you are", detail, headers, advice)


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:  # a container has numbers without names
        return str(number)


def _caller(request: Request) -> Caller:
    found: Any = request.state.caller
    assert isinstance(found, Caller)
    return found


#: A route's parameter of this type is given who asks.
Asker = Annotated[Caller, Depends(_caller)]
