"""The page of the installed service over a real guest, in a real browser."""

import re
import signal
import socket

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product
from tests.lab import Guest
from tests.page.browser import chromium, window

__all__ = ["chromium"]  # fixtures
pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_real_guest_is_run_watched_and_thawed(chromium: Browser, product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut, hold_limit="40s")
    base = f"http://localhost:{(port := free_port())}"
    product.table("service", listen=[f"127.0.0.1:{port}"])
    token = product("token", "create", "--name", "me", "--role", "operator", "--json").document["secret"]
    serving = product.start("serve")
    serving.wait_said("serving")
    with window(chromium, base) as seen:
        seen.go("/")
        seen.log_in(token)
        expect(seen.page.get_by_text("Live.")).to_be_visible()
        acting = seen.page.context.new_page()
        acting.goto(f"{base}/jobs")
        acting.get_by_role("link", name="Run now").click()
        acting.get_by_role("button", name="Run now").click()
        gate.wait_entered()
        assert vm.fs_frozen()
        expect(seen.page.locator(".card.frozen")).to_contain_text("vm")
        gate.open()
        expect(acting.get_by_role("heading", level=1)).to_contain_text("done")
        expect(acting.get_by_role("img", name=re.compile("Freeze, hold, cut"))).to_be_visible()
        expect(seen.page.get_by_text("Nothing runs")).to_be_visible()
        seen.go("/machines/vm")
        expect(seen.page.locator("svg.chart .bar.freeze")).to_have_count(1)
        seen.page.get_by_role("link", name="Thaw now").click()
        seen.page.get_by_role("button", name="Thaw now").click()
        expect(seen.page.get_by_role("heading", level=1)).to_contain_text("done")
        seen.check()
    assert not vm.fs_frozen()
    serving.send(signal.SIGTERM)
    assert serving.wait().code == 0
