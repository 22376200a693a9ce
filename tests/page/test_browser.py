"""The page in a real browser: it logs in, looks, acts, and is told what changes."""

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from orchestrator.model import Consistency, Role, State
from tests.api.site import Site, served
from tests.fakes.agent import FakeAgent
from tests.laws.conftest import World
from tests.page.browser import PHONE, window
from tests.page.past import GOOD, Past, steps

NOW = datetime.now(UTC)
HOSTILE = "<img src=x onerror=alert(1)>\u202e<script>alert(2)</script>"


@pytest.fixture
def site(world: World, guest: FakeAgent, tmp_path: Path) -> Iterator[Site]:
    """A site whose guest may be held for longer than a browser needs on a busy machine."""
    with served(world, tmp_path, hold_limit=40) as found:
        yield found


@pytest.fixture
def base(site: Site) -> str:
    return f"http://localhost:{site.remote.base_url.port}"


@pytest.fixture
def past(site: Site) -> None:
    """One of everything, with a guest that says what it likes."""
    past = Past(site.journal)
    for number in range(3):
        past.run(
            f"r{number}", "vm", "a-machine-with-quite-a-long-name-in-frankfurt-3", at=NOW - timedelta(hours=number + 1)
        )
    failed = {"state": State.FAILED, "consistency": Consistency.NONE, "window_ms": None}
    past.run("bad", "vm", at=NOW, error=HOSTILE * 3, **failed)  # type: ignore[arg-type]
    past.run("stuck", "db1", at=NOW, state=State.STUCK, error=HOSTILE, made=steps("db1", NOW, GOOD[:5]))
    past.run("now", "db2", at=NOW, state=State.RUNNING, made=steps("db2", NOW, GOOD[:3]))


@pytest.mark.usefixtures("past")
def test_every_page_can_be_read_by_everybody_on_a_phone(chromium: Browser, base: str, site: Site) -> None:
    paths = ("/", "/runs", "/runs/r0", "/runs/stuck", "/runs/bad", "/machines", "/machines/vm", "/jobs")
    with window(chromium, base, viewport=PHONE) as seen:
        seen.go("/runs")
        seen.check()
        seen.log_in(site.token(Role.OPERATOR, "me"))
        expect(seen.page).to_have_url(f"{base}/runs")
        for path in (*paths, "/jobs/nightly/run", "/machines/vm/thaw"):
            seen.go(path)
            seen.check()
        seen.page.get_by_role("button", name="Log out").click()
        expect(seen.page).to_have_url(f"{base}/login")


def test_a_run_is_begun_and_followed_to_its_end_without_a_reload(chromium: Browser, base: str, site: Site) -> None:
    gate = threading.Event()

    def wait() -> None:
        gate.wait(30)

    site.world.storages["vm"].before["cut"].append(wait)
    with window(chromium, base) as seen:
        seen.go("/")
        seen.log_in(site.token(Role.OPERATOR, "me"))
        watching = seen.page
        expect(watching.get_by_text("Live.")).to_be_visible()
        acting = seen.page.context.new_page()
        acting.goto(f"{base}/jobs")
        acting.get_by_role("link", name="Run now").click()
        acting.get_by_role("button", name="Run now").click()
        expect(acting).to_have_url(re.compile("/runs/"))
        expect(watching.locator(".card.frozen")).to_contain_text("vm")
        gate.set()
        expect(acting.get_by_role("heading", level=1)).to_contain_text("done")
        expect(acting.get_by_role("img", name=re.compile("Freeze, hold, cut"))).to_be_visible()
        expect(watching.get_by_text("Nothing runs")).to_be_visible()


def test_without_javascript_everything_can_be_done(chromium: Browser, base: str, site: Site) -> None:
    with window(chromium, base, java_script_enabled=False) as seen:
        seen.go("/machines/vm/thaw")
        seen.log_in(site.token(Role.OPERATOR, "me"))
        seen.page.get_by_role("button", name="Thaw now").click()
        expect(seen.page.get_by_role("heading", level=1)).to_contain_text("done")
        seen.page.get_by_role("link", name="History").click()
        seen.page.get_by_label("State").select_option("failed")
        seen.page.get_by_role("button", name="Show").click()
        expect(seen.page.get_by_text("No run fits.")).to_be_visible()
        seen.page.get_by_role("link", name="Show all").click()
        expect(seen.page.get_by_text("by hand: thaw")).to_be_visible()


def test_the_keyboard_alone_comes_everywhere(chromium: Browser, base: str, site: Site) -> None:
    with window(chromium, base) as seen:
        seen.go("/")
        seen.page.keyboard.type(site.token(Role.VIEWER, "me"))  # the field has the focus
        seen.page.keyboard.press("Enter")
        expect(seen.page).to_have_url(f"{base}/")
        seen.page.keyboard.press("Tab")
        expect(seen.page.get_by_role("link", name="To the content")).to_be_focused()
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert seen.page.evaluate(outline) == "solid"
        for _ in range(3):
            seen.page.keyboard.press("Tab")
        seen.page.keyboard.press("Enter")
        expect(seen.page).to_have_url(f"{base}/runs")
