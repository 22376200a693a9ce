"""The gate: who is let in, to what, from where; and what is written down about it."""

import re
import socket
from pathlib import Path

import httpx
import pytest
from starlette.routing import Mount, Route

from orchestrator.clock import SystemClock
from orchestrator.errors import JournalUnavailable
from orchestrator.model import Deed, Role
from orchestrator.web import attempts, connections
from orchestrator.web.callers import COOKIE
from orchestrator.web.gate import LARGEST
from orchestrator.web.roles import EVERYBODY, ROLES
from tests.api.site import Site

RUNS = "/api/v1/runs"


def routes(site: Site) -> list[tuple[str, str]]:
    """Every method and path that the site answers."""
    found = []
    for route in site.gate.routes:
        assert isinstance(route, Route | Mount)
        methods = route.methods if isinstance(route, Route) else {"GET"}
        found += [(method, route.path) for method in (methods or set()) - {"HEAD"}]
    return found


def ask(site: Site, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """The answer of a route to a request that is about nothing that there is."""
    return site.remote.request(method, re.sub(r"\{[^}]*\}", "nothing", path), headers=headers)


def test_every_route_has_its_role_and_every_role_a_route(site: Site) -> None:
    assert sorted(routes(site)) == sorted(ROLES)


def test_every_route_lets_in_who_may_and_nobody_else(site: Site) -> None:
    headers = {role: site.headers(role) for role in Role}
    walked = 0
    for method, path in routes(site):
        needed = ROLES[method, path]
        if needed is EVERYBODY or path == "/api/v1/events":
            continue
        assert ask(site, method, path, {}).status_code == 401, path
        for role in Role:
            status = ask(site, method, path, headers[role]).status_code
            assert status not in {401, 500}, (method, path, role)
            assert (status == 403) == (not role.may(needed)), (method, path, role)
        walked += 1
    assert walked >= 4


def test_a_token_that_is_none_and_one_that_has_ended_are_refused_alike(site: Site) -> None:
    ended, revoked = site.token(Role.ADMIN, lasts=-1), site.token(Role.ADMIN, name="lost")
    assert site.remote.get(RUNS, headers={"Authorization": f"Bearer {revoked}"}).status_code == 200
    site.journal.tokens().revoke("lost", SystemClock().now())
    answers = [
        site.remote.get(RUNS, headers={b"Authorization": word})
        for word in (*(f"Bearer {word}".encode() for word in (ended, revoked, "x", "\xff")), b"Basic cm9vdDo=")
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert answers[0].headers["www-authenticate"].startswith("Bearer")


def test_too_many_failures_shut_an_address_out_for_a_while(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = site.headers(Role.VIEWER), {"Authorization": "Bearer wrong"}
    for _ in range(attempts.MOST):
        assert site.remote.get(RUNS, headers=wrong).status_code == 401
    refused = site.remote.get(RUNS, headers=right)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= attempts.WITHIN
    assert site.remote.post("/login", data={"token": "x"}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 429
    assert site.local.get(RUNS).status_code == 200
    assert len(site.journal.audit().newest(99)) == attempts.MOST
    monkeypatch.setattr("orchestrator.web.attempts.WITHIN", 0.0)
    assert site.remote.get(RUNS, headers=right).status_code == 200


def test_a_process_of_the_service_s_own_user_is_let_in_by_the_unix_socket(site: Site) -> None:
    assert site.local.get(RUNS).status_code == 200
    assert site.remote.get(RUNS).status_code == 401
    # A token that is shown counts.
    assert site.local.get(RUNS, headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_a_name_that_leads_here_from_elsewhere_is_refused(site: Site) -> None:
    for bad in ("evil.example", "evil.example:80", "localhost.evil.example", "", "[", "127.0.0.1.x"):
        assert site.remote.get("/healthz", headers={"Host": bad}).status_code == 421, bad
    for good in ("localhost", "localhost:8420", "127.0.0.1", "[::1]:8420"):
        assert site.remote.get("/healthz", headers={"Host": good}).status_code == 200


def test_no_other_origin_is_let_in(site: Site) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    answer = site.remote.options(RUNS, headers=asked)
    assert answer.status_code in {401, 403, 405}
    assert "access-control-allow-origin" not in answer.headers


def log_in(site: Site, role: Role) -> httpx.Response:
    return site.remote.post(
        "/login?next=/machines", data={"token": site.token(role, "me")}, headers={"Sec-Fetch-Site": "same-origin"}
    )


def test_who_logs_in_gets_a_cookie_that_no_script_and_no_other_site_can_use(site: Site) -> None:
    answer = log_in(site, Role.VIEWER)
    assert (answer.status_code, answer.headers["location"]) == (303, "/machines")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))


def test_a_cookie_lets_in_until_its_token_ends_or_its_user_logs_out(site: Site) -> None:
    def get() -> int:
        return site.remote.get(RUNS, headers={"Cookie": cookie}).status_code

    cookie = log_in(site, Role.VIEWER).headers["set-cookie"].partition(";")[0]
    assert get() == 200
    own = {"Sec-Fetch-Site": "same-origin", "Cookie": cookie}
    assert site.remote.post("/logout", headers=own).status_code == 303
    assert get() == 401
    cookie = site.remote.post("/login", data={"token": site.token(Role.VIEWER, "again")}, headers=own).headers[
        "set-cookie"
    ]
    cookie = cookie.partition(";")[0]
    assert get() == 200
    site.journal.tokens().revoke("again", SystemClock().now())
    assert get() == 401


def test_a_log_in_leads_to_no_other_site(site: Site) -> None:
    data, own = {"token": site.token(Role.VIEWER)}, {"Sec-Fetch-Site": "same-origin"}
    for then in ("https://evil.example", "//evil.example", "/\\evil.example", "javascript:1"):
        answer = site.remote.post("/login", params={"next": then}, data=data, headers=own)
        assert answer.headers["location"] == "/", then


def test_a_change_with_a_cookie_comes_from_our_own_page_only(site: Site) -> None:
    elsewhere: list[dict[str, str]] = [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ]
    cookie = log_in(site, Role.VIEWER).headers["set-cookie"].partition(";")[0]
    asked = {"Cookie": cookie, "Host": "localhost"}
    for headers in elsewhere:
        assert site.remote.post("/logout", headers={**asked, **headers}).status_code == 403, headers
    assert site.remote.get(RUNS, headers=asked).status_code == 200  # nobody has logged it out
    assert site.remote.post("/logout", headers={**asked, "Origin": "http://localhost"}).status_code == 303
    assert site.remote.get(RUNS, headers=asked).status_code == 401


def test_a_log_in_that_another_page_sends_is_refused(site: Site) -> None:
    data = {"token": site.token(Role.VIEWER)}
    assert site.remote.post("/login", data=data, headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_page_that_needs_a_log_in_leads_there(site: Site) -> None:
    answer = site.remote.get(RUNS, headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={RUNS}")


def test_every_change_and_every_refusal_is_audited(site: Site) -> None:
    log_in(site, Role.VIEWER)
    site.remote.get(RUNS)
    site.remote.get(RUNS, headers=site.headers(Role.VIEWER))  # changes nothing
    site.local.post("/logout")

    def told(deed: Deed) -> tuple[str, str, int]:
        return deed.who, deed.act, deed.status

    deeds = site.journal.audit().newest(9)
    assert [told(deed) for deed in deeds[1:]] == [("nobody", f"GET {RUNS}", 401), ("token me", "POST /login", 303)]
    assert deeds[0].origin.startswith("process ")
    assert deeds[1].origin == "127.0.0.1"


def test_what_cannot_be_audited_is_done_nevertheless(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: object, deed: Deed) -> None:
        raise JournalUnavailable("away")

    monkeypatch.setattr("orchestrator.journal.access.SqlAudit.record", away)
    assert site.local.post("/logout").status_code == 303


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_that_is_too_large_is_refused(site: Site, chunked: bool) -> None:
    body = b"token=" + b"x" * LARGEST
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
    answer = site.remote.post("/login", content=iter([body]) if chunked else body, headers=headers)
    assert answer.status_code == 413


def test_who_says_nothing_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD", 0.2)
    with socket.create_connection(("127.0.0.1", site.remote.base_url.port or 0)) as link:
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        assert link.recv(100) == b""


def test_a_body_that_does_not_come_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.gate.SLOWEST", 0.2)
    head = "POST /login HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 9\r\n"
    with socket.create_connection(("127.0.0.1", site.remote.base_url.port or 0)) as link:
        link.sendall(f"{head}Content-Type: application/x-www-form-urlencoded\r\n\r\n".encode())
        assert b" 408 " in link.recv(100)


def test_the_description_is_for_those_who_may_look(site: Site, tmp_path: Path) -> None:
    assert site.remote.get("/api/v1/openapi.json").status_code == 401
    document = site.local.get("/api/v1/openapi.json").json()
    assert RUNS in document["paths"]
    assert document["security"] == [{"bearer": []}]
