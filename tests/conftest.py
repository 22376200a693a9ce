"""What every test shares."""

import signal

import pytest
from hypothesis import settings

# How long an example takes says nothing on a busy machine.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# A shell that starts us in its background has us ignore Ctrl-C, and what is tested here would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.lab.fixtures", "tests.postgres", "tests.journals"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make soak` ask for the tests that take too long for every change."""
    parser.addoption("--soak", action="store_true", help="run the tests marked soak, and only those")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to `make soak` what is its own, whatever -m and -k choose."""
    soak = bool(config.getoption("--soak"))
    other = [item for item in items if (item.get_closest_marker("soak") is not None) is not soak]
    config.hook.pytest_deselected(items=other)
    items[:] = [item for item in items if (item.get_closest_marker("soak") is not None) is soak]
