"""What the pages say, read as a browser without JavaScript reads them."""

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.model import Action, Consistency, Job, Machine, Outcome, Role, State
from orchestrator.web.page.rendering import POLICY
from tests.api.site import Site
from tests.page.past import GOOD, Past, steps

NOW = datetime.now(UTC)
#: What a hostile guest may say, by what must not be on the page.
HOSTILE = {
    "<script>alert(1)</script>": "<script>alert",
    '"><img src=x onerror=alert(1)>': "<img src=x",
    "done\u202ekcuts": "\u202e",
    "a\x1b[2Jb\x00c\u200bd": "\x1b",
    "{{ 707*707 }}": "499849",
    "lone \udcff": "\udcff",
}


@pytest.fixture
def past(site: Site) -> Past:
    return Past(site.journal)


def page(site: Site, path: str, status: int = 200) -> str:
    """What a page shows, without its marks."""
    answer = site.local.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == status, answer.text
    assert answer.headers["content-security-policy"] == POLICY
    assert not re.search(r"<script>|<[^<>]*\s(style|on\w+)=", answer.text)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", answer.text)).split())


def test_a_journal_in_which_nothing_is_can_be_read(site: Site) -> None:
    assert "Nothing runs, and no run holds a guest frozen." in page(site, "/")
    assert "No run fits." in page(site, "/runs")
    assert "never" in page(site, "/machines")
    assert "nightly" in page(site, "/jobs")
    assert "never frozen by a run" in page(site, "/machines/vm")


def test_a_stuck_guest_stands_first_with_what_to_do(site: Site, past: Past) -> None:
    past.run("r1", "db1", at=NOW, state=State.STUCK, error="no answer to the thaw", made=steps("db1", NOW, GOOD[:5]))
    seen = page(site, "/")
    assert seen.startswith("STUCK: db1 · quiesce")
    assert seen.index("Stuck db1 may still be frozen") < seen.index("Now")
    assert "no answer to the thaw. Thaw it now; without success" in seen
    assert "STUCK db1: no answer to the thaw" in page(site, "/runs/r1")


def test_a_guest_that_is_frozen_now_is_told_from_one_that_only_runs(site: Site, past: Past) -> None:
    begun = [
        step for step in steps("db1", NOW, GOOD[:4]) if (step.action, step.outcome) != (Action.FREEZE, Outcome.DONE)
    ]
    past.run("r1", "db1", at=NOW, state=State.RUNNING, made=begun)
    past.run("r2", "db2", at=NOW, state=State.RUNNING, made=steps("db2", NOW, GOOD[:7]))
    seen = page(site, "/")
    assert re.search(r"db1 frozen nightly , r1 for [\w. ]+ at most", seen)
    assert re.search(r"db2 running nightly , r2 after confirm, for", seen)


def test_the_overview_counts_each_job_and_names_the_last_good_run(site: Site, past: Past) -> None:
    for number in range(4):
        at = NOW - timedelta(days=number + 1)
        failed = (
            {"state": State.FAILED, "consistency": Consistency.NONE, "error": "the disk is full"} if number == 3 else {}
        )
        past.run(f"r{number}", "vm", at=at, **failed)  # type: ignore[arg-type]
    seen = page(site, "/")
    assert "nightly 3 of 4" in seen
    assert "24 h ago vm" in seen
    assert "failed none" in seen
    assert "the disk is full" in seen


def test_the_history_is_narrowed_and_leafed_through_by_links(site: Site, past: Past) -> None:
    for number in range(60):
        past.run(f"r{number:02}", "vm", at=NOW - timedelta(hours=number), job="a" if number % 2 else "b")
    first = site.local.get("/runs").text
    assert re.findall(r">(r\d\d)<", first) == [f"r{number:02}" for number in range(50)]
    [older] = re.findall(r'href="([^"]*)" rel="next"', first)
    rest = site.local.get(html.unescape(older)).text
    assert re.findall(r">(r\d\d)<", rest) == [f"r{number:02}" for number in range(50, 60)]
    assert 'rel="next"' not in rest
    narrowed = site.local.get(
        f"/runs?job=a&machine=vm&state=done&consistency=&since={NOW - timedelta(hours=5):%Y-%m-%dT%H:%M}"
    ).text
    assert re.findall(r">(r\d\d)<", narrowed) == ["r01", "r03", "r05"]
    assert "<option selected>done</option>" in narrowed


def test_a_filter_that_is_none_and_what_there_is_not_are_told(site: Site, past: Past) -> None:
    for query in ("state=odd", "since=yesterday", "before=nowhere", "consistency=%00"):
        assert "That was not done" in page(site, f"/runs?{query}", 422)
    past.run("r1", "vm", at=NOW)
    for path in ("/runs/nothing", "/machines/nothing", "/runs/r1?machine=nothing"):
        assert "nothing" in page(site, path, 404)


def test_a_run_is_shown_with_the_figures_that_are_drawn(site: Site, past: Past) -> None:
    past.run("r1", "vm", at=NOW - timedelta(minutes=9))
    text = site.local.get("/runs/r1").text
    seen = page(site, "/runs/r1")
    for phase, took in [
        ("window", "54.1 ms"),
        ("freeze", "31.0 ms"),
        ("hold", "21.5 ms"),
        ("cut", "14.0 ms"),
        ("copy", "92.7 s"),
    ]:
        assert re.search(rf"{phase} [\d.]+ m?s {took}", seen), phase
        assert re.search(rf'<rect class="bar {phase} done" x="[\d.]+%" width="[\d.]+%"', text), phase


def test_of_a_run_over_many_machines_the_worst_is_shown_first_and_each_can_be(site: Site, past: Past) -> None:
    past.run("r1", "vm", "other", at=NOW)
    assert "Timeline of vm" in page(site, "/runs/r1")
    assert "Timeline of other" in page(site, "/runs/r1?machine=other")


def test_of_a_thaw_that_was_tried_for_days_the_first_and_the_last_steps_are_shown(site: Site, past: Past) -> None:
    [thaw] = [step for step in steps("vm", NOW) if (step.action, step.outcome) == (Action.THAW, Outcome.DONE)]
    many = [replace(thaw, figures={"try": number}) for number in range(500)]
    past.run("r1", "vm", at=NOW, state=State.STUCK, made=many)
    seen = page(site, "/runs/r1")
    assert "300 steps between are left out" in seen
    assert {"try= 99", "try= 400"} == set(re.findall(r"try= (?:99|100|399|400)\b", seen))


def test_a_machine_shows_its_windows(site: Site, past: Past) -> None:
    for number in range(3):
        past.run(f"r{number}", "vm", at=NOW - timedelta(days=number), window_ms=50.0 * (number + 1))
    seen = page(site, "/machines/vm")
    assert "Median window 100 ms Longest window 150 ms Jobs nightly" in seen
    assert len(re.findall(r'class="bar freeze', site.local.get("/machines/vm").text)) == 3


def test_what_a_guest_says_is_only_ever_text(site: Site, past: Past) -> None:
    for number, text in enumerate(HOSTILE):
        made = [replace(step, figures={text: {text: text}}, error=text) for step in steps("vm", NOW)]
        failed = {"state": State.FAILED, "consistency": Consistency.NONE}
        past.run(f"r{number}", "vm", at=NOW, error=text, made=made, **failed)  # type: ignore[arg-type]
    for path in ("/", "/runs", *(f"/runs/r{number}" for number in range(len(HOSTILE)))):
        page(site, path)
        assert not [bad for bad in HOSTILE.values() if bad in site.local.get(path).text], path
    assert "done\\u202ekcuts" in page(site, "/runs")


def test_a_machine_that_is_not_configured_any_more_is_still_told_of(site: Site, past: Past) -> None:
    past.run("r1", "gone", at=NOW)
    assert "Machine gone" in page(site, "/machines/gone")
    assert "gone not configured any more" in page(site, "/machines")


def test_a_fleet_does_not_make_a_page_endless(site: Site) -> None:
    many = {name: Machine(name) for name in (f"m{number}" for number in range(1200))}
    site.service.configure(many, {name: Job(name, ("m1",), "memory") for name in many})
    assert "200 more were well lately" in page(site, "/machines")
    assert "200 more, in the order" in page(site, "/jobs")
    assert "1192 more" in page(site, "/")
    assert site.local.get("/runs").text.count("<option value=") < 450


def test_the_files_of_the_page_may_be_kept_for_ever_and_are_for_everybody(site: Site) -> None:
    paths = re.findall(r'(?:href|src)="(/static/[^"]*)"', site.local.get("/").text)
    assert len(set(paths)) == 3
    for path in paths:
        answer = site.remote.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert site.remote.get("/static/..%2fpage.py").status_code == 404
    assert site.remote.get("/static/no.css").status_code == 404


def test_who_is_not_known_is_asked_for_a_token(site: Site) -> None:
    answer = site.remote.get("/machines", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/machines")
    assert "Log in" in site.remote.get("/login").text
    assert site.remote.get("/", headers=site.headers(Role.VIEWER)).status_code == 200
