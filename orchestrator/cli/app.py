"""The commands. Each reads: ask the service, show the result, choose the exit code."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import policy
from orchestrator.cli import backups, failures, names
from orchestrator.cli.access import audit, make_token
from orchestrator.cli.agent import make_agent
from orchestrator.cli.channel import make_channel
from orchestrator.cli.nagios import Status, judge, line
from orchestrator.cli.notices import make_notices
from orchestrator.cli.power import make_power
from orchestrator.cli.report import report, vacuum
from orchestrator.cli.scheduling import jobs, pause, reload, resume
from orchestrator.cli.session import Json, Session, Start, session
from orchestrator.cli.wire import Remotely
from orchestrator.clock import Bell
from orchestrator.errors import ConfigError, QuiesceError
from orchestrator.model import FreezeStatus, Health, Sighting, State


def make_app(wire: Remotely) -> typer.Typer:
    """The command line over what `wire` makes."""
    # Rich is loaded for tables only: help in plain text and no decorated tracebacks keep every start short.
    app = typer.Typer(
        name="quiesce",
        help="Consistent snapshots and backups of running QEMU/KVM guests.",
        no_args_is_help=True,
        context_settings={"obj": wire},  # for the completion of names, before any command runs
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def start(
        context: typer.Context,
        config: Annotated[
            Path, typer.Option(envvar="QUIESCE_CONFIG", metavar="FILE", help="The configuration file.")
        ] = names.DEFAULT_CONFIG,
        server: Annotated[
            str | None,
            typer.Option(envvar="QUIESCE_SERVER", metavar="URL", help="Ask a service: https://HOST:PORT, unix:/path."),
        ] = None,
        token_file: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="The token for it, which may also be in QUIESCE_TOKEN."),
        ] = None,
    ) -> None:
        context.obj = Start(wire, config, server, token_file)

    every_day = (run, history, show, snapshots, report, prune, thaw, recover, check, machines, jobs)
    for command in (*every_day, pause, resume, audit, serve, reload, init):
        app.command()(command)
    database = typer.Typer(help="The journal's database.", no_args_is_help=True, rich_markup_mode=None)
    database.command()(upgrade)
    database.command()(vacuum)
    app.add_typer(database, name="db")
    app.command()(backups.restore)
    app.command()(backups.verify)
    repositories = typer.Typer(help="The repositories of backups.", no_args_is_help=True, rich_markup_mode=None)
    repositories.callback()(lambda: None)  # one command alone would swallow its name
    repositories.command("check")(backups.check_repositories)
    app.add_typer(repositories, name="repo")
    app.add_typer(make_token(), name="token")
    app.add_typer(make_agent(), name="agent")
    app.add_typer(make_power(), name="power")
    app.add_typer(make_channel(), name="channel")
    app.add_typer(make_notices(), name="notices")
    return app


def run(
    context: typer.Context,
    job: Annotated[str, typer.Argument(help="Which job.", autocompletion=names.jobs)],
    machine: Annotated[
        str | None, typer.Option(metavar="MACHINE", help="Only this machine of the job.", autocompletion=names.machines)
    ] = None,
    json: Json = False,
) -> None:
    """Run a job now, and let go of what its retention does not keep."""
    with session(context, as_json=json) as here:
        service = here.service()
        run = here.work(lambda observer, stop: service.run(job, machine=machine, observer=observer, stop=stop))
        here.output.ended(run)
        here.tell(failures.shortfalls(run))
        here.exit_code = policy.exit_code(run)
        if run.state is State.DONE and run.job is not None and run.job.retention is not None:
            prune = partial(service.prune, job, machine=machine)
            here.tell(failures.not_pruned(here.work(lambda observer, stop: prune(observer=observer, stop=stop))))


def history(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Option(metavar="JOB", help="Only runs of this job.", autocompletion=names.jobs)
    ] = None,
    machine: Annotated[
        str | None, typer.Option(metavar="MACHINE", help="Only runs with this machine.", autocompletion=names.machines)
    ] = None,
    state: Annotated[State | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    json: Json = False,
) -> None:
    """List runs: stuck ones first, then newest first."""
    with session(context, as_json=json) as here:
        runs = failures.stuck_first(here.service().history(limit, job=job, machine=machine, state=state))
        here.output.runs(runs)
        here.tell(failures.alarms(runs))


def show(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id, or its unambiguous beginning.")],
    json: Json = False,
) -> None:
    """Show a run with all its steps."""
    with session(context, as_json=json) as here:
        found = here.service().show(run)
        here.output.run(found)
        here.tell(failures.alarms([found]))


def snapshots(
    context: typer.Context,
    machine: Annotated[
        str | None, typer.Argument(help="Which machine; all without it.", autocompletion=names.machines)
    ] = None,
    json: Json = False,
) -> None:
    """List the snapshots that are there, oldest first: which file each is now, and what that stands on."""
    with session(context, as_json=json) as here:
        here.output.snapshots(here.service().snapshots(machine))


def prune(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(help="Which job; all that have a retention without it.", autocompletion=names.jobs)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    json: Json = False,
) -> None:
    """Remove what retention does not keep, and say of each snapshot why it stays or goes."""
    with session(context, as_json=json) as here:
        service = here.service()
        prune = partial(service.prune, job, dry_run=dry_run)
        pruned = here.work(lambda observer, stop: prune(observer=observer, stop=stop))
        here.output.pruned(pruned)
        here.tell(failures.not_pruned(pruned))
        here.exit_code = 1 if any(each.error for each in pruned) else 0


def thaw(
    context: typer.Context,
    machine: Annotated[str, typer.Argument(help="Which machine.", autocompletion=names.machines)],
    force: Annotated[bool, typer.Option("--force", help="Also when somebody else froze it.")] = False,
    reason: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="With --force: close a stuck run on your word, for this reason."),
    ] = None,
    json: Json = False,
) -> None:
    """Thaw a machine by hand, and write it into the history."""
    with session(context, as_json=json) as here:
        if reason is not None and not (force and reason.strip()):
            raise ConfigError("--reason TEXT goes with --force: it closes a stuck run on your word, without a thaw")
        service = here.service()
        run = here.work(lambda observer, stop: service.thaw(machine, force=force, reason=reason, observer=observer))
        here.output.ended(run)
        here.tell(failures.shortfalls(run))
        states = [target.state for target in run.targets if target.machine.name == machine]
        settled = State.RECOVERED in (states or [run.state])  # a run from before it was renamed does not know it
        here.exit_code = 0 if settled else policy.exit_code(run)


def recover(
    context: typer.Context,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Then look at every configured machine, and say which are frozen, and by whom."),
    ] = False,
    json: Json = False,
) -> None:
    """Settle the runs of processes that died, and try stuck guests again.

    Exits with 3 when a guest is stuck, with 5 when one is frozen by somebody else; that one is left as it is.
    """
    with session(context, as_json=json) as here:
        service = here.service()
        sightings: Sequence[Sighting] = ()
        if everything:
            recovered, sightings = here.work(lambda observer, stop: service.sweep(observer))
            runs, sightings = failures.stuck_first(recovered), failures.gravest_first(sightings)
            here.output.swept(runs, sightings)
        else:
            runs = failures.stuck_first(here.work(lambda observer, stop: service.recover(observer)))
            here.output.runs(runs)
        here.tell([*failures.alarms(runs), *failures.sighted(sightings, runs)])
        here.exit_code = failures.recovery_code(runs, sightings)


def check(
    context: typer.Context,
    machine: Annotated[
        str | None, typer.Argument(help="Which machine; all without it.", autocompletion=names.machines)
    ] = None,
    nagios: Annotated[
        bool,
        typer.Option("--nagios", help="One line and an exit code as Nagios wants them; 1 for hazards."),
    ] = False,
    json: Json = False,
) -> None:
    """Say whether a machine could be quiesced now. Exits with 5 when one is frozen, 1 when one is not ready."""
    with session(context, as_json=json) as here:
        if nagios:
            here.exit_code, said = _for_nagios(here, machine)
            here.show(said)
            return
        reports = _reports(here, machine)
        here.output.health(reports)
        here.exit_code = max((_exit_code_of(report) for report in reports), default=0)


def machines(context: typer.Context, json: Json = False) -> None:
    """List the configured machines."""
    with session(context, as_json=json) as here:
        here.output.machines(list(here.settings().machines.values()))


def serve(context: typer.Context, json: Json = False) -> None:
    """Run the jobs on their schedules, until a signal asks to stop."""
    with session(context, as_json=json) as here:
        hangup = Bell()
        here.work(lambda observer, stop: here.wire.serve(here.config, stop, hangup), hangup=hangup)
        here.output.stopped()


def init(
    context: typer.Context,
    uri: Annotated[str, typer.Option(metavar="URI", help="The libvirt whose domains are meant.")] = "qemu:///system",
    json: Json = False,
) -> None:
    """Write a first configuration from the domains of a libvirt. A file that is there is left as it is."""
    with session(context, as_json=json) as here:
        here.output.initialized(str(here.config), here.wire.init(here.config, uri))


def upgrade(context: typer.Context, json: Json = False) -> None:
    """Create the journal's schema, or bring it up to date."""
    with session(context, as_json=json) as here:
        here.output.upgraded(*here.wire.upgrade(here.config))


def _reports(here: Session, machine: str | None) -> list[Health]:
    names = [machine] if machine is not None else list(here.settings().machines)
    service = here.service()
    return [service.check(name) for name in names]


def _for_nagios(here: Session, machine: str | None) -> tuple[int, str]:
    try:
        return judge(_reports(here, machine))
    except QuiesceError as error:
        return Status.UNKNOWN, line(Status.UNKNOWN, str(error))


def _exit_code_of(report: Health) -> int:
    if report.freeze_status is FreezeStatus.FROZEN:
        return 5
    return 0 if report.ready else 1
