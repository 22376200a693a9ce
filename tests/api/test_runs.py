"""Runs that are asked for: begun once, followed by their id, and ended on demand."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx

from orchestrator.model import Role
from tests.api.site import Site
from tests.journals import NOW, a_run
from tests.lab import wait_for

RUNS = "/api/v1/runs"
NIGHTLY = {"job": "nightly"}


def post(site: Site, body: Any = None, key: str | None = None, **headers: str) -> httpx.Response:
    """Ask for a run, by the unix socket unless `headers` say who asks."""
    client = site.remote if headers else site.local
    headers = headers if key is None else {**headers, "Idempotency-Key": key}
    return client.post(RUNS, json=NIGHTLY if body is None else body, headers=headers)


def ended(site: Site, answer: httpx.Response) -> Any:
    """The run that was begun, when it has ended."""
    assert answer.status_code == 202, answer.text

    def look() -> Any:
        run = site.local.get(answer.headers["location"]).json()
        return run if run["finished_at"] else None

    return wait_for(look, 60, "the end of the run")


def hold(site: Site) -> threading.Event:
    """Let the next cut of `vm` wait until the event that is returned is set, or it is not waited for any more."""
    gate = threading.Event()

    def wait() -> None:
        gate.wait(60)

    site.world.storages["vm"].before["cut"].append(wait)
    return gate


def test_a_run_is_found_by_its_id_at_once_and_goes_on_by_itself(site: Site) -> None:
    gate = hold(site)
    answer = post(site)
    assert site.local.get(answer.headers["location"]).json()["state"] in {"pending", "running"}
    gate.set()
    run = ended(site, answer)
    assert (run["id"], run["state"], run["consistency"]) == (answer.json()["id"], "done", "filesystem")
    assert [run["id"] for run in site.local.get(RUNS).json()["runs"]] == [run["id"]]


def test_a_run_that_cannot_be_is_refused_and_never_was(site: Site) -> None:
    bodies: list[tuple[Any, int]] = [
        ({"job": "weekly"}, 404),
        ({"job": "nightly", "machine": "other"}, 404),
        ({"job": "\x1b[31m<script>\x00"}, 404),
        ({}, 422),
        ({"job": 3}, 422),
        ([], 422),
    ]
    for body, status in bodies:
        answer = post(site, body)
        assert (answer.status_code, answer.json()["status"]) == (status, status), body
    assert site.local.get(RUNS).json() == {"runs": [], "next": None}


def test_the_same_key_means_the_same_run_for_ever(site: Site) -> None:
    first, again = post(site, key="a"), post(site, key="a")
    assert first.json() == again.json()
    ended(site, first)
    assert post(site, key="a").json() == first.json()
    assert post(site, key="b").json() != first.json()


def test_a_key_under_which_something_else_was_asked_for_is_refused(site: Site) -> None:
    post(site, key="a")
    other = post(site, {"job": "nightly", "machine": "vm"}, key="a")
    assert other.status_code == 422
    assert "something else was asked for under this key" in other.json()["detail"]


def test_another_s_key_is_another_key(site: Site) -> None:
    ours = post(site, key="a")
    theirs = post(site, key="a", **site.headers(Role.OPERATOR))
    assert ours.json() != theirs.json()


def test_of_those_who_ask_at_once_under_one_key_all_are_told_of_one_run(site: Site) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: post(site, key="a"), range(6)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    ended(site, answers[0])
    assert len(site.local.get(RUNS).json()["runs"]) == 1


def test_a_key_whose_run_never_began_begins_it(site: Site) -> None:
    assert post(site, {"job": "weekly"}, key="a").status_code == 404
    site.service.configure(site.service.machines, {"weekly": site.service.jobs["nightly"]})
    assert ended(site, post(site, {"job": "weekly"}, key="a"))["state"] == "done"


def test_a_run_is_cancelled_with_its_guest_thawed(site: Site) -> None:
    gate = hold(site)
    answer = post(site)
    wait_for(lambda: site.world.guests["vm"].frozen or None, 30, "the freeze")
    assert site.local.post(f"{answer.headers['location']}/cancel").status_code == 202
    wait_for(lambda: not site.world.guests["vm"].frozen, 30, "the thaw")
    gate.set()
    assert ended(site, answer)["state"] == "cancelled"


def test_what_has_ended_and_what_is_in_other_hands_is_not_cancelled(site: Site) -> None:
    run = ended(site, post(site))
    answer = site.local.post(f"{RUNS}/{run['id']}/cancel")
    assert (answer.status_code, answer.json()["detail"]) == (409, f"run {run['id']} has ended: it is done")
    assert site.local.post(f"{RUNS}/nothing/cancel").status_code == 404
    site.journal.open_run(a_run("theirs", "db1"))
    answer = site.local.post(f"{RUNS}/theirs/cancel")
    assert answer.status_code == 409
    assert "end it there" in answer.json()["detail"]


def test_nothing_begins_when_the_service_ends(site: Site) -> None:
    site.ending.request()
    answer = post(site)
    assert answer.status_code == 409
    assert "the service is ending" in answer.json()["detail"]


def test_what_was_asked_for_and_by_whom_is_audited(site: Site) -> None:
    headers = site.headers(Role.OPERATOR)
    ended(site, post(site, {"job": "nightly", "machine": "vm"}, **headers))
    [deed] = site.journal.audit().newest(9)
    assert deed.who.startswith("token ")
    assert (deed.act, deed.subject, deed.status) == (f"POST {RUNS}", "nightly vm", 202)


def test_the_history_is_leafed_through_to_its_end(site: Site) -> None:
    for number in range(5):
        site.journal.open_run(a_run(f"r{number}", f"db{number}", at=NOW + timedelta(hours=number)))
    seen, before = [], None
    while True:
        page = site.local.get(RUNS, params={"limit": 2, **({"before": before} if before else {})}).json()
        seen += [run["id"] for run in page["runs"]]
        before = page["next"]
        if before is None:
            break
    assert seen == ["r4", "r3", "r2", "r1", "r0"]
    since = {"since": (NOW + timedelta(hours=3)).isoformat(), "machine": "db4"}
    assert [run["id"] for run in site.local.get(RUNS, params=since).json()["runs"]] == ["r4"]
    assert site.local.get(RUNS, params={"before": "nonsense"}).status_code == 422
    assert site.local.get(RUNS, params={"state": "sleeping"}).status_code == 422
