"""The API as its own description has it, asked everything that it allows and much that it does not."""

from dataclasses import replace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

from orchestrator.model import Role
from tests.api.site import Site
from tests.journals import a_run, a_step

#: Followed for as long as somebody listens: tried in `test_events`.
_STREAM = "/api/v1/events"


@pytest.fixture
def hostile(site: Site) -> Site:
    """A site whose journal holds what a hostile guest may say."""
    name = "<script>\x1b[31m\x00\ud800"
    site.service.configure({**site.service.machines}, {**site.service.jobs, name: site.service.jobs["nightly"]})
    return site


def scan(site: Site, examples: int) -> int:
    """Send so many requests to each operation; return how many were answered. Fails with the request that broke it."""
    headers = site.headers(Role.ADMIN)
    schema = schemathesis.openapi.from_dict(site.local.get("/api/v1/openapi.json").json())
    answered = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @settings(
            max_examples=examples,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            nonlocal answered
            request = case.as_transport_kwargs(base_url=str(site.remote.base_url))
            check(request, send(site, request, headers))
            answered += 1

        if operation.path != _STREAM:
            ask()
    return answered


def send(site: Site, request: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    wanted = {name: value for name, value in request["headers"].items() if name.lower() == "idempotency-key"}
    body = {"json": request["json"]} if "json" in request else {"content": request.get("data")}
    encoded = {name: value.encode("latin-1", "replace") for name, value in {**wanted, **headers}.items()}
    method, url, parameters = request["method"], request["url"], request.get("params")
    sent = {name.encode(): value for name, value in encoded.items()}
    return site.remote.request(method, url, params=parameters, headers=sent, timeout=60, **body)


def check(request: dict[str, Any], answer: httpx.Response) -> None:
    """No request breaks the service, and every refusal is a problem document."""
    assert answer.status_code < 500, (request, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", (request, answer.text)
        assert answer.json()["status"] == answer.status_code
    else:
        assert answer.headers["content-type"] in {"application/json", "text/plain; version=0.0.4; charset=utf-8"}


def test_no_request_breaks_the_api(hostile: Site) -> None:
    assert scan(hostile, 3) >= 40


def test_whatever_a_guest_said_is_told_as_it_was(site: Site) -> None:
    said = "<script>\x1b[2J\x00\ud800\u202e"
    run = site.journal.open_run(a_run("r1", "db1"))
    site.journal.record(run, [replace(a_step("db1"), error=said, figures={said: [said]})])
    answer = site.remote.get("/api/v1/runs/r1", headers=site.headers(Role.VIEWER))
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text.isascii()
    [step] = answer.json()["steps"]
    assert (step["error"], step["figures"]) == (said, {said: [said]})


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_request_of_very_many_breaks_the_api(hostile: Site) -> None:
    assert scan(hostile, 300) >= 3000
