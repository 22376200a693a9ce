"""`quiesce channel ...`: the virtio channel between a machine and its agent."""

from typing import Annotated

import typer

from orchestrator.acts import LIBVIRT_S_CHANNEL, Scope, qemu_options
from orchestrator.cli import names
from orchestrator.cli.session import Json, Session, session
from orchestrator.escape import escape
from orchestrator.model import Run, State

Machine = Annotated[str, typer.Argument(help="Which machine.", autocompletion=names.machines)]
Name = Annotated[str, typer.Option(metavar="NAME", help="The channel's name; another one libvirt keeps its hands off.")]
Live = Annotated[bool, typer.Option("--live", help="Only in the running machine.")]
Config = Annotated[bool, typer.Option("--config", help="Only in its definition, from its next start on.")]


def make_channel() -> typer.Typer:
    """The commands below `quiesce channel`."""
    app = typer.Typer(help="The channels between a machine and its agent.", no_args_is_help=True, rich_markup_mode=None)
    for command in (show, add, remove):
        app.command()(command)
    return app


def show(context: typer.Context, machine: Machine, json: Json = False) -> None:
    """List a machine's virtio channels: where each is, whether an agent has opened it, and its socket."""
    with session(context, as_json=json) as here:
        here.output.answer(here.operating().channelling.show(machine))


def add(
    context: typer.Context,
    machine: Machine,
    name: Name = LIBVIRT_S_CHANNEL,
    path: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Its socket; without it, libvirt's choice, or the machine's agent."),
    ] = None,
    live: Live = False,
    config: Config = False,
    json: Json = False,
) -> None:
    """Add a channel where it is missing, in the running machine and in its definition, and say what comes next."""
    with session(context, as_json=json) as here:
        channelling = here.operating().channelling
        run = here.work(lambda observer, stop: channelling.add(machine, name, path, _scopes(live, config), observer))
        here.ended(run)
        if run.state is State.DONE:
            _say_what_is_next(here, run, name, path)


def remove(
    context: typer.Context,
    machine: Machine,
    name: Name = LIBVIRT_S_CHANNEL,
    live: Live = False,
    config: Config = False,
    json: Json = False,
) -> None:
    """Remove a channel where it is."""
    with session(context, as_json=json) as here:
        channelling = here.operating().channelling
        here.ended(here.work(lambda observer, stop: channelling.remove(machine, name, _scopes(live, config), observer)))


def _scopes(live: bool, config: bool) -> tuple[Scope, ...]:
    """None of both means all that there is."""
    return (*([Scope.LIVE] if live else []), *([Scope.CONFIG] if config else []))


def _say_what_is_next(here: Session, run: Run, name: str, path: str | None) -> None:
    machine = run.targets[0].machine
    if machine.hypervisor is None:
        path = path or machine.agent or "PATH"
        options = escape(qemu_options(name, path))
        here.tell([f"quiesce: the channel ends with QEMU; to have it from its start on, start it with {options}"])
    if name == LIBVIRT_S_CHANNEL:
        here.tell(["quiesce: in the guest, install and start qemu-guest-agent; `quiesce check` says how"])
        return
    socket = path or "PATH, as `quiesce channel show` tells it; libvirt chooses another at each start: give --path"
    here.tell(
        [
            f"quiesce: in the guest, run: qemu-ga -p /dev/virtio-ports/{escape(name)}",
            f'quiesce: in the configuration, below [machines.{escape(machine.name)}]: agent = "unix:{escape(socket)}"',
        ]
    )
