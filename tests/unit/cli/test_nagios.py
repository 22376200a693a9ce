"""A check for Nagios: one line, four exit codes, and nothing that a guest says can become performance data."""

from dataclasses import replace

import pytest

from orchestrator.errors import ConfigError, JournalUnavailable
from orchestrator.model import FreezeStatus, Health
from tests.unit.cli.stub import READY, Stub, quiesce


def check(stub: Stub, *machine: str) -> tuple[int, str]:
    result = quiesce(stub, "check", *machine, "--nagios")
    assert result.stdout.count("\n") == 1
    return result.exit_code, result.stdout


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        (READY, 0, "QUIESCE OK - 1 of 1 machines ready\n"),
        (replace(READY, hazards=("a loop",)), 1, "QUIESCE WARNING - 1 of 1 machines ready; db1: a loop\n"),
        (replace(READY, problems=("no agent. ",)), 2, "QUIESCE CRITICAL - 0 of 1 machines ready; db1: no agent. \n"),
        (
            replace(READY, freeze_status=FreezeStatus.FROZEN, problems=("x",), held_by="r1"),
            2,
            "QUIESCE CRITICAL - 0 of 1 machines ready; db1: FROZEN by run r1\n",
        ),
        (
            replace(READY, last_windows_ms=(98.76, 50.0)),
            0,
            "QUIESCE OK - 1 of 1 machines ready | 'db1 window'=0.099s;;;0\n",
        ),
        (
            replace(READY, hazards=("x | 'db1 window'=0s\nQUIESCE OK",)),
            1,
            "QUIESCE WARNING - 1 of 1 machines ready; db1: x / 'db1 window'=0s\\nQUIESCE OK\n",
        ),
    ],
)
def test_each_state_has_its_line(report: Health, code: int, said: str) -> None:
    assert check(Stub(reports={"db1": report}), "db1") == (code, said)


@pytest.mark.parametrize("error", [ConfigError("a\nb"), JournalUnavailable("away")])
def test_what_could_not_be_looked_at_is_unknown(error: Exception) -> None:
    code, said = check(Stub(error=error))
    assert code == 3
    assert said.startswith("QUIESCE UNKNOWN - a")
