"""The commands about who may ask over HTTP, and what was asked."""

from typing import Annotated

import typer

from orchestrator import owner
from orchestrator.cli.session import Json, Session, duration, session
from orchestrator.clock import SystemClock
from orchestrator.errors import ConfigError, NotFound
from orchestrator.model import Deed, Role, Token

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the token is called.")]

#: How a command that was carried out stands in the audit, beside the answers of the API.
_DONE = 200


def make_token() -> typer.Typer:
    """`quiesce token`"""
    app = typer.Typer(help="The tokens for the API and the page.", no_args_is_help=True, rich_markup_mode=None)
    app.command()(create)
    app.command("list")(tokens)
    app.command()(revoke)
    return app


def create(
    context: typer.Context,
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose it is: each name is given once for ever.")],
    role: Annotated[Role, typer.Option(help="What it lets them do.")],
    expires: Annotated[
        float | None, typer.Option(parser=duration, metavar="DURATION", help="How long it holds; for ever without it.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a token, and show its secret: this once, and never again."""
    from datetime import timedelta

    from orchestrator.tokens import digest_of, new_secret

    with session(context, as_json=json) as here:
        if not name.strip() or len(name) > 64 or not name.isprintable():
            raise ConfigError("a token's name is up to 64 visible characters")
        now, secret = SystemClock().now(), new_secret()
        token = Token(name, role, now, owner.operator(), None if expires is None else now + timedelta(seconds=expires))
        if not here.wire.tokens(here.config).create(token, digest_of(secret)):
            raise ConfigError(f"there is, or was, a token {name!r}: give this one another name")
        _audit(here, "token create", name)
        here.output.token(token, secret)


def tokens(context: typer.Context, json: Json = False) -> None:
    """List all tokens that ever were, without their secrets."""
    with session(context, as_json=json) as here:
        here.output.tokens(here.wire.tokens(here.config).all(), SystemClock().now())


def revoke(context: typer.Context, name: Name, json: Json = False) -> None:
    """Let a token hold no longer. It stays in the list."""
    with session(context, as_json=json) as here:
        if not here.wire.tokens(here.config).revoke(name, SystemClock().now()):
            raise NotFound(f"there is no token {name!r} that holds: `quiesce token list` shows them")
        _audit(here, "token revoke", name)
        here.output.revoked(name)


def audit(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    json: Json = False,
) -> None:
    """Show who changed what over HTTP, when and from where, and what was refused: the newest first."""
    with session(context, as_json=json) as here:
        here.output.deeds(here.wire.deeds(here.config, limit))


def _audit(here: Session, act: str, name: str) -> None:
    here.wire.audit(here.config).record(Deed(SystemClock().now(), owner.operator(), "this host", act, name, _DONE))
