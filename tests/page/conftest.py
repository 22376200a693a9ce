"""A served site, as the tests of the API have it, with pages and a past."""

from tests.api.conftest import guest, site, world
from tests.page.browser import chromium

__all__ = ["chromium", "guest", "site", "world"]  # fixtures
