"""The commands for backups. Each reads: ask for the backups, show the result, choose the exit code."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli import failures
from orchestrator.cli.interrupt import ending
from orchestrator.cli.session import Json, session
from orchestrator.errors import ConfigError
from orchestrator.model import ImageFormat, Verify, Wanted

Run = Annotated[str | None, typer.Argument(help="The run's id, or its unambiguous beginning.")]
Machine = Annotated[str | None, typer.Option(metavar="MACHINE", help="Which machine, when the run has several.")]
RepositoryFolder = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="A repository's folder. No configuration is read then, and none is needed."),
]


def restore(
    context: typer.Context,
    to: Annotated[Path, typer.Option(metavar="DIR", help="The folder for the disks; made when it is missing.")],
    run: Run = None,
    machine: Machine = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help='Instead of RUN: the last backup before "2026-11-01 12:00", local time.'),
    ] = None,
    disk: Annotated[str | None, typer.Option(metavar="DISK", help="Only this disk.")] = None,
    form: Annotated[ImageFormat, typer.Option("--format", help="As what each disk is written.")] = ImageFormat.QCOW2,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    define: Annotated[
        str | None, typer.Option(metavar="NAME", help="Define a new domain with these disks; it is not started.")
    ] = None,
    repository: RepositoryFolder = None,
    json: Json = False,
) -> None:
    """Write the disks of a backup into a folder, each whole in a file of its own."""
    with session(context, as_json=json) as here:
        wanted = Wanted(run, machine, None if at is None else _time(at))
        if (run is None) is (at is None):
            raise ConfigError("say which backup: RUN, or --at TIME with --machine MACHINE")
        backups = here.wire.backups(here.config, repository)
        with ending():
            restored = backups.restore(wanted, to, disk=disk, form=form, force=force, define=define)
        here.output.restored(restored)


def verify(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run's id, or its unambiguous beginning.")],
    machine: Machine = None,
    boot: Annotated[
        bool, typer.Option("--boot", help="Start a throwaway copy too, without network, until its agent answers.")
    ] = False,
    repository: RepositoryFolder = None,
    json: Json = False,
) -> None:
    """Examine a backup: its sums, images and file systems. Exits with 1 when it is not to be trusted."""
    with session(context, as_json=json) as here:
        backups = here.wire.backups(here.config, repository)
        how = Verify.BOOT if boot else Verify.FILESYSTEM
        with ending(), here.output.following() as show:
            verified = backups.verify(Wanted(run, machine), how, show)
        here.output.verified(verified)
        here.tell(failures.distrust(verified))
        here.exit_code = 1 if verified.problems else 0


def check_repositories(context: typer.Context, repository: RepositoryFolder = None, json: Json = False) -> None:
    """Read all backups and say what is damaged, does not belong there, or cannot be restored. Exits with 1 then."""
    with session(context, as_json=json) as here:
        reports = here.wire.backups(here.config, repository).check()
        here.output.checked(reports)
        here.exit_code = 1 if any(report.findings for report in reports) else 0


def _time(text: str) -> datetime:
    """A point in time as ISO 8601 has it; without an offset it is this host's local time. Raises ConfigError."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise ConfigError(f'--at {text!r} is no time: write it like "2026-11-01 12:00"') from error
