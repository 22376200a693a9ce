"""Names that the shell completes: of what the configuration has, as far as it can be read."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import typer

from orchestrator.cli.wire import Wire
from orchestrator.errors import QuiesceError
from orchestrator.ports import Configured

DEFAULT_CONFIG = Path("/etc/quiesce/quiesce.toml")


def jobs(context: typer.Context, incomplete: str) -> list[str]:
    """The jobs whose names begin so."""
    return _names(context, incomplete, lambda settings: settings.jobs)


def machines(context: typer.Context, incomplete: str) -> list[str]:
    """The machines whose names begin so."""
    return _names(context, incomplete, lambda settings: settings.machines)


def jobs_or_machines(context: typer.Context, incomplete: str) -> list[str]:
    """Of the kind that was named before, those whose names begin so."""
    kind = context.params.get("kind")
    return _names(context, incomplete, lambda settings: settings.jobs if kind == "job" else settings.machines)


def _names(context: typer.Context, incomplete: str, of: Callable[[Configured], Mapping[str, object]]) -> list[str]:
    root = context.find_root()
    wire = cast(Wire, root.obj)  # no command runs while the shell asks, so nothing has taken its place
    try:
        settings = wire.settings(root.params.get("config") or DEFAULT_CONFIG)
    except QuiesceError:  # a shell has no place to say so
        return []
    return [name for name in of(settings) if name.startswith(incomplete)]
