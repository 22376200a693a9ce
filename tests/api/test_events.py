"""Events, live: what is written is told at once, and who comes again goes on where it was."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from orchestrator.clock import SystemClock
from orchestrator.model import Position, Role
from tests.api.site import Site
from tests.journals import a_run, a_step

EVENTS = "/api/v1/events"


@dataclass(frozen=True)
class Told:
    """One event."""

    kind: str
    id: str
    data: Any


@contextmanager
def listening(site: Site, last: str | None = None, **headers: str) -> Iterator[Iterator[Told]]:
    """The events that are told, as they come."""
    client = site.remote if headers else site.local
    headers = headers if last is None else {**headers, "Last-Event-ID": last}
    with client.stream("GET", EVENTS, headers=headers, timeout=20) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield told(answer)


def told(answer: httpx.Response) -> Iterator[Told]:
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Told(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


def test_what_is_written_is_told_as_it_comes_whoever_writes_it(site: Site) -> None:
    site.journal.open_run(a_run("before", "db1"))
    with listening(site) as events:
        assert next(events).kind == "ready"
        run = site.journal.open_run(a_run("r1", "db2"))
        first = next(events)
        assert (first.kind, first.data["run"]["id"], first.data["steps"]) == ("run", "r1", [])
        site.journal.record(run, [a_step("db2", 1), a_step("db2", 2)])
        assert [step["figures"]["n"] for step in next(events).data["steps"]] == [1, 2]


def test_a_run_of_the_service_is_followed_to_its_end(site: Site) -> None:
    with listening(site) as events:
        assert next(events).kind == "ready"
        run = site.local.post("/api/v1/runs", json={"job": "nightly"}).json()["id"]
        event = next(events)
        seen = event.data["steps"]
        while not event.data["run"]["finished_at"]:
            event = next(events)
            seen += event.data["steps"]
        whole = site.local.get(f"/api/v1/runs/{run}").json()["steps"]
        while len(seen) < len(whole):  # each event tells of the run as it is now: it may have ended
            seen += next(events).data["steps"]
    assert seen == whole


def test_who_comes_again_misses_nothing(site: Site) -> None:
    with listening(site) as events:
        last = next(events).id
        run = site.journal.open_run(a_run("r1", "db1"))
        last = next(events).id
    for number in range(3):
        site.journal.record(run, [a_step("db1", number)])
    with listening(site, last) as events:
        assert next(events).kind == "ready"
        assert [next(events).data["steps"][0]["figures"]["n"] for _ in range(3)] == [0, 1, 2]


def test_who_comes_after_too_long_is_told_so(site: Site) -> None:
    site.journal.open_run(a_run("r1", "db1"))
    with listening(site, str(Position(7, 4711))) as events:
        reset = next(events)
        assert (reset.kind, reset.id) == ("reset", str(site.journal.events().newest()))
    assert site.local.get(EVENTS, headers={"Last-Event-ID": "<script>"}).status_code == 422


def test_a_revoked_token_hears_nothing_more(site: Site) -> None:
    headers = {"Authorization": f"Bearer {site.token(Role.VIEWER, 'lost')}"}
    with listening(site, **headers) as events:
        assert next(events).kind == "ready"
        site.journal.tokens().revoke("lost", SystemClock().now())
        run = site.journal.open_run(a_run("r1", "db1"))
        heard = list(events)  # it ends
    assert len(heard) <= 1  # what was on its way
    assert run.id == "r1"


def test_listeners_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.feed.LISTENERS", 1)
    with listening(site) as events:
        assert next(events).kind == "ready"
        assert site.local.get(EVENTS).status_code == 503
