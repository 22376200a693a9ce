"""A real browser, and what every page that it shows must keep to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

#: The narrowest phone.
PHONE = {"width": 360, "height": 740}

#: Milliseconds for something to be seen, on a busy machine.
PATIENCE = 30_000

#: Evaluated in a page: what of it a reader who does not see it, or has only a keyboard, would stumble over.
_STUMBLES = """() => {
  const found = [], all = (words) => [...document.querySelectorAll(words)];
  const must = (holds, complaint) => holds || found.push(complaint);
  must(all('main').length === 1 && all('h1').length === 1, 'not one main with one h1');
  must(document.documentElement.lang === 'en' && document.title, 'no language or title');
  let level = 0;
  for (const heading of all('h1, h2, h3, h4')) {
    must(Number(heading.tagName[1]) <= level + 1, `a heading is left out before: ${heading.textContent}`);
    level = Number(heading.tagName[1]);
  }
  for (const one of all('input:not([type=hidden]), select, textarea')) must(one.labels.length, `no label: ${one.name}`);
  for (const one of all('a[href], button')) must(one.textContent.trim(), `no name: ${one.outerHTML}`);
  for (const one of all('table')) must(one.caption, 'a table without caption');
  for (const one of all('thead th')) must(one.scope && one.textContent.trim(), `no head: ${one.outerHTML}`);
  for (const one of all('svg')) must(one.ariaHidden || one.ariaLabel, 'a drawing without words');
  for (const one of all('img')) must(one.hasAttribute('alt'), 'an image without alt');
  for (const one of all('nav')) must(one.ariaLabel, 'a nav without name');
  const ids = all('[id]').map((one) => one.id);
  must(new Set(ids).size === ids.length, 'an id twice');
  for (const one of all('[aria-labelledby]')) must(ids.includes(one.getAttribute('aria-labelledby')), 'no such label');
  return found;
}"""

#: Likewise: text that stands out too little from what is behind it (WCAG 2.2, 1.4.3).
_FAINT = """() => {
  const found = new Set();
  const light = (colour) => {
    const [red, green, blue] = colour.match(/[0-9.]+/g).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const ground = (one) => {
    const colour = getComputedStyle(one).backgroundColor;
    return colour === 'rgba(0, 0, 0, 0)' && one.parentElement ? ground(one.parentElement) : colour;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const one = texts.currentNode.parentElement, style = getComputedStyle(one);
    if (!texts.currentNode.data.trim() || !one.checkVisibility()) continue;
    const [a, b] = [light(one.closest('svg') ? style.fill : style.color), light(ground(one))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) found.add(`faint, ${contrast.toFixed(1)}: ${one.outerHTML.slice(0, 99)}`);
  }
  return [...found];
}"""


@dataclass
class Window:
    """A page that is open in the browser, and what went wrong in it."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        """Open a path of the site."""
        self.page.goto(self.base + path)

    def log_in(self, token: str) -> None:
        """Show the token that is asked for."""
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()

    def heard(self, message: ConsoleMessage) -> None:
        """The console says something: a violation of the policy, for one."""
        if message.type == "error":
            self.complaints.append(f"{message.text} {message.location}")

    def asked(self, request: Request) -> None:
        """The browser asks somebody for something."""
        if not request.url.startswith(f"{self.base}/"):
            self.complaints.append(f"asked for {request.url}")

    def check(self) -> None:
        """What is shown can be used by everybody, and fits."""
        where = self.page.url
        if self.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            self.complaints.append(f"{where} is wider than the screen")
        self.complaints += [f"{where}: {each}" for each in self.page.evaluate(_STUMBLES)]
        for scheme in ("light", "dark"):
            self.page.emulate_media(color_scheme=scheme)
            self.complaints += [f"{where}, {scheme}: {each}" for each in self.page.evaluate(_FAINT)]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, which asks nobody for anything by itself.

    While it runs, no other event loop can run in its thread: so it ends with the module.
    """
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        yield browser
        browser.close()


@contextmanager
def window(chromium: Browser, base: str, **options: Any) -> Iterator[Window]:
    """A browser of its own that knows nothing yet. Within the `with`, nothing may go wrong in its console, and it may
    ask nobody but `base`.
    """
    context = chromium.new_context(**options)
    context.set_default_timeout(PATIENCE)
    found = Window(context.new_page(), base)
    context.on("console", found.heard)
    context.on("weberror", lambda error: found.complaints.append(str(error.error)))
    context.on("dialog", lambda dialog: found.complaints.append(f"a dialog: {dialog.message}"))
    context.on("request", found.asked)
    try:
        yield found
    finally:
        context.close()
    assert not found.complaints, "\n".join(found.complaints)
