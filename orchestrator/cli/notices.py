"""The commands about notices: whether they arrive."""

import typer

from orchestrator.cli.session import Json, session


def make_notices() -> typer.Typer:
    """The commands below `quiesce notices`."""
    notices = typer.Typer(help="Who is told of runs.", no_args_is_help=True, rich_markup_mode=None)
    notices.callback()(lambda: None)  # one command alone would swallow its name
    notices.command("test")(try_notices)
    return notices


def try_notices(context: typer.Context, json: Json = False) -> None:
    """Send a message to each configured address. Exits with 1 when one did not take it."""
    with session(context, as_json=json) as here:
        deliveries = here.wire.try_notices(here.config)
        here.output.delivered(deliveries)
        here.exit_code = 1 if any(each.error for each in deliveries) else 0
