"""A served site, as the tests of the API have it, with pages and a past."""

from tests.api.conftest import guest, site, world

__all__ = ["guest", "site", "world"]  # fixtures
