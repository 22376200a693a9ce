"""What is done by the page: plain forms, which an operator confirms and nobody else can send."""

import html
import re

import httpx

from orchestrator.errors import FrozenByOther
from orchestrator.model import Role, State
from tests.api.site import Site
from tests.fakes.agent import FakeAgent
from tests.lab import wait_for

RUN, THAW = "/jobs/nightly/run", "/machines/vm/thaw"


def sent(site: Site, path: str, **fields: str) -> httpx.Response:
    """The answer to the form at `path`, filled in with `fields`."""
    form = site.local.get(path).text
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))
    return site.local.post(path, data={**hidden, **fields})


def test_a_run_is_begun_by_a_form_and_shown(site: Site) -> None:
    answer = sent(site, RUN)
    assert answer.status_code == 303
    shown = answer.headers["location"]
    wait_for(lambda: site.journal.run(shown.removeprefix("/runs/")).finished_at, 30, "the end of the run")
    assert "Timeline of vm" in site.local.get(shown).text


def test_a_form_that_is_sent_twice_begins_one_run(site: Site) -> None:
    form = {"key": "same", "machine": "vm"}
    first, second = (site.local.post(RUN, data=form).headers["location"] for _ in range(2))
    assert first == second
    assert len(site.journal.history(9)) == 1


def test_a_wrong_form_is_told_and_begins_nothing(site: Site) -> None:
    assert site.local.post(RUN, data={}).status_code == 422
    assert site.local.post(RUN, data={"key": "k", "machine": "other"}).status_code == 404
    assert site.local.get("/jobs/nothing/run").status_code == 404
    assert site.local.get("/machines/nothing/thaw").status_code == 404
    assert sent(site, THAW, reason="it was reset").status_code == 422
    assert site.journal.history(9) == ()


def test_a_guest_that_somebody_else_froze_is_thawed_with_force_only(site: Site, guest: FakeAgent) -> None:
    guest.frozen, guest.believes_frozen = {"/", "/data"}, True
    refused = sent(site, THAW)
    assert refused.status_code == 409
    assert FrozenByOther.advice in html.unescape(refused.text)
    assert guest.frozen
    answer = sent(site, THAW, force="true")
    assert answer.status_code == 303
    assert not guest.frozen
    assert site.journal.run(answer.headers["location"].removeprefix("/runs/")).state is State.DONE


def test_who_may_only_look_is_offered_nothing_else(site: Site) -> None:
    offered = {"/": r"thaw", "/jobs": r"/jobs/nightly/run", "/machines": r"/vm/thaw", "/machines/vm": r"/vm/thaw"}
    viewer, operator = site.headers(Role.VIEWER), site.headers(Role.OPERATOR)
    for path, act in offered.items():
        assert not re.search(act, site.remote.get(path, headers=viewer).text), path
        assert path == "/" or re.search(act, site.remote.get(path, headers=operator).text), path
    for path in (RUN, THAW):
        assert site.remote.get(path, headers=viewer).status_code == 403
        assert site.remote.post(path, headers=viewer, data={"key": "k"}).status_code == 403
    assert site.journal.history(9) == ()
