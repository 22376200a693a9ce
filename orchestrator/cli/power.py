"""`quiesce power ...`: shut down, reboot, suspend and wake a machine, and see that it happened."""

from typing import Annotated

import typer

from orchestrator.acts import PowerAct, PowerMode, PowerRequest, SuspendTarget
from orchestrator.cli import names
from orchestrator.cli.session import Json, duration, session

Name = Annotated[str, typer.Argument(help="Which machine.", autocompletion=names.machines)]
Mode = Annotated[PowerMode, typer.Option(help="Who tells the guest: its agent, or the ACPI power button.")]
_WAIT = typer.Option(parser=duration, metavar="DURATION", help="How long to wait for the event that shows it.")


def make_power() -> typer.Typer:
    """The commands below `quiesce power`."""
    app = typer.Typer(help="Shut down, reboot, suspend or wake a machine.", no_args_is_help=True, rich_markup_mode=None)
    for command in (shutdown, reboot, suspend, wakeup):
        app.command()(command)
    return app


def shutdown(
    context: typer.Context,
    machine: Name,
    mode: Mode = PowerMode.DEFAULT,
    wait: Annotated[float, _WAIT] = 60.0,
    json: Json = False,
) -> None:
    """Shut a machine down."""
    _power(context, machine, PowerRequest(PowerAct.SHUTDOWN, mode=mode), wait, json)


def reboot(
    context: typer.Context,
    machine: Name,
    mode: Mode = PowerMode.DEFAULT,
    wait: Annotated[float, _WAIT] = 60.0,
    json: Json = False,
) -> None:
    """Reboot a machine. By ACPI, this needs libvirt."""
    _power(context, machine, PowerRequest(PowerAct.REBOOT, mode=mode), wait, json)


def suspend(
    context: typer.Context,
    machine: Name,
    target: Annotated[SuspendTarget, typer.Option(help="Where the guest keeps its memory.")] = SuspendTarget.MEM,
    wait: Annotated[float, _WAIT] = 60.0,
    json: Json = False,
) -> None:
    """Let a machine's agent suspend it."""
    _power(context, machine, PowerRequest(PowerAct.SUSPEND, target=target), wait, json)


def wakeup(context: typer.Context, machine: Name, wait: Annotated[float, _WAIT] = 60.0, json: Json = False) -> None:
    """Wake a suspended machine."""
    _power(context, machine, PowerRequest(PowerAct.WAKEUP), wait, json)


def _power(context: typer.Context, machine: str, request: PowerRequest, wait: float, as_json: bool) -> None:
    """Exits with 0 when the machine's own event has shown it."""
    with session(context, as_json=as_json) as here:
        powering = here.operating().powering
        run = here.work(lambda observer, stop: powering.power(machine, request, wait, observer, stop))
        here.ended(run)
