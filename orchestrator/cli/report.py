"""What the history says about all machines: `quiesce report`, and what keeps it small."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from orchestrator import documents
from orchestrator.answers import Frozen, LastGood, Report, Unquiesced
from orchestrator.cli.session import Json, session
from orchestrator.escape import escape


class Section(StrEnum):
    """A part of the report that is one table."""

    UNQUIESCED = "unquiesced"
    FROZEN = "frozen"
    LAST_GOOD = "last-good"


def report(
    context: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=36500, help="Look back so many days.")] = 30,
    overdue: Annotated[int, typer.Option(min=1, max=36500, help="A machine is overdue after so many days.")] = 7,
    table: Annotated[Section | None, typer.Option("--csv", help="Write this part of it as CSV.")] = None,
    json: Json = False,
) -> None:
    """Say which cuts were not quiesced and why, who was frozen longest, and who has no good backup.

    Exits with 1 when a machine is overdue.
    """
    with session(context, as_json=json) as here:
        found = here.wire.report(here.config, days, overdue)
        if table is not None:
            here.write(_csv(found, table))
        else:
            here.output.report(found)
        here.exit_code = 1 if found.overdue else 0


def vacuum(context: typer.Context, json: Json = False) -> None:
    """Forget the runs that `[journal] keep` lets go, and give their space back."""
    with session(context, as_json=json) as here:
        here.output.forgotten(here.wire.vacuum(here.config))


def _csv(report: Report, section: Section) -> str:
    """RFC 4180, with the names of the columns first."""
    columns: Sequence[str]
    rows: Sequence[Unquiesced | Frozen | LastGood]
    match section:
        case Section.UNQUIESCED:
            columns, rows = _columns(Unquiesced), report.unquiesced
        case Section.FROZEN:
            columns, rows = _columns(Frozen), report.frozen
        case Section.LAST_GOOD:
            columns, rows = _columns(LastGood), report.last_good
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in asdict(row).values()] for row in rows)
    return text.getvalue()


def _columns(kind: type[Unquiesced | Frozen | LastGood]) -> list[str]:
    return [field.name for field in fields(kind)]


def _cell(value: Any) -> str:
    """No control characters, and nothing that a spreadsheet would take for a formula."""
    if isinstance(value, datetime):
        return documents.timestamp(value)
    text = escape("" if value is None else str(value))
    return f"'{text}" if text[:1] in tuple("=+-@") and not isinstance(value, float) else text
