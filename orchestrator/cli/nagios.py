"""`quiesce check --nagios`: one line and an exit code, as the Monitoring Plugins Development Guidelines ask for."""

from collections.abc import Sequence
from enum import IntEnum

from orchestrator.escape import escape
from orchestrator.model import FreezeStatus, Health


class Status(IntEnum):
    """The exit codes of a check."""

    OK = 0  # all could be quiesced now
    WARNING = 1  # they could, and something may go wrong
    CRITICAL = 2  # one could not, or is frozen
    UNKNOWN = 3  # it could not be looked


def judge(reports: Sequence[Health]) -> tuple[Status, str]:
    """The status of all machines together and the line that tells it, the worst machine first."""
    order = sorted(reports, key=_status, reverse=True)
    status = max(map(_status, reports), default=Status.UNKNOWN)
    texts = [f"{report.machine}: {_text(report)}" for report in order if _status(report) is not Status.OK]
    ready = sum(report.ready for report in reports)
    said = "; ".join([f"{ready} of {len(reports)} machines ready", *texts])
    data = [_performance(report) for report in reports if report.last_windows_ms]
    return status, line(status, said) + (" | " + " ".join(data) if data else "")


def line(status: Status, text: str) -> str:
    """What is shown: in it, a bar would begin the performance data."""
    return f"QUIESCE {status.name} - {escape(text, 1000).replace('|', '/')}"


def _status(report: Health) -> Status:
    if not report.ready:
        return Status.CRITICAL
    return Status.WARNING if report.hazards else Status.OK


def _text(report: Health) -> str:
    if report.freeze_status is FreezeStatus.FROZEN:
        return f"FROZEN by run {report.held_by}" if report.held_by else "FROZEN, and not by an open run of this journal"
    return (report.problems or report.hazards)[0].rstrip(".")


def _performance(report: Health) -> str:
    """The last window. A label in quotes may hold anything but quotes and the equals sign; names hold neither."""
    return f"'{report.machine} window'={report.last_windows_ms[0] / 1000:.3f}s;;;0"
