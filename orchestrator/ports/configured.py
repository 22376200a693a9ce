"""The configuration, as far as those need it who act by it."""

from collections.abc import Mapping
from typing import Protocol

from orchestrator.model import Job, Machine


class Configured(Protocol):
    """What is configured now, by name."""

    @property
    def machines(self) -> Mapping[str, Machine]: ...

    @property
    def jobs(self) -> Mapping[str, Job]: ...
