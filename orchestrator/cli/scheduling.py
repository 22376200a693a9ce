"""The commands about schedules: when jobs are due, and what is kept from running."""

from typing import Annotated

import typer

from orchestrator import owner
from orchestrator.cli import names
from orchestrator.cli.session import Json, session
from orchestrator.clock import SystemClock
from orchestrator.errors import NotFound
from orchestrator.model import Pausable, Pause

Kind = Annotated[Pausable, typer.Argument(help="What is meant by NAME.")]
Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Its name in the configuration.", autocompletion=names.jobs_or_machines)
]


def jobs(
    context: typer.Context,
    count: Annotated[int | None, typer.Option("--next", min=1, max=1000, help="Say when each is due next.")] = None,
    json: Json = False,
) -> None:
    """List the configured jobs."""
    with session(context, as_json=json) as here:
        if count is not None:
            here.output.coming(here.wire.coming(here.config, count))
        else:
            here.output.jobs(list(here.settings().jobs.values()))


def pause(
    context: typer.Context,
    kind: Kind,
    name: Name,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for who finds it paused.")] = None,
    json: Json = False,
) -> None:
    """Keep a job, or a machine, out of scheduled runs until it is resumed. What comes due meanwhile is let go."""
    with session(context, as_json=json) as here:
        known = here.settings().jobs if kind is Pausable.JOB else here.settings().machines
        if name not in known:
            raise NotFound.in_configuration(kind, name, known)
        new_pause = Pause(kind, name, SystemClock().now(), owner.operator(), reason)
        new = here.wire.schedules(here.config).pause(new_pause)
        here.output.paused(kind, name, paused=True, changed=new)


def resume(context: typer.Context, kind: Kind, name: Name, json: Json = False) -> None:
    """Let scheduled runs have a paused job, or machine, again."""
    with session(context, as_json=json) as here:
        was = here.wire.schedules(here.config).resume(kind, name)
        here.output.paused(kind, name, paused=False, changed=was)


def reload(context: typer.Context, json: Json = False) -> None:
    """Let the service read its configuration again. It goes on with the old one if the new one is wrong."""
    with session(context, as_json=json) as here:
        here.settings()  # what is wrong is better said here than in the service's log
        here.output.reloading(here.wire.reload(here.config))
