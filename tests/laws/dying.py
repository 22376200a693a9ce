"""How a process of the product ends in the middle, as the laws' tests let it."""

from typing import Any, NoReturn

import pytest

from orchestrator.model import Run
from tests.laws.conftest import World


class Killed(BaseException):
    """The process ends here."""


def killed() -> NoReturn:
    raise Killed


def die_before_the_window(world: World, monkeypatch: pytest.MonkeyPatch, **job: Any) -> Run:
    """A run whose process dies after its intents are committed."""
    with monkeypatch.context() as patch:
        patch.setattr("orchestrator.transaction.Window.run", lambda _: killed())
        with pytest.raises(Killed):
            world.service(**job).run("nightly")
    world.die()
    (run,) = world.journal.open_runs()
    return run
