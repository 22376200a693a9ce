"""The command line: the only place that knows Typer, Rich, signals of the process, and how people read."""

from orchestrator.cli.app import make_app
from orchestrator.cli.wire import Remotely, Wire

__all__ = ["Remotely", "Wire", "make_app"]
