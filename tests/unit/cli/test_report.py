"""The report in each of its forms. What a guest said is in it."""

import json

import pytest

from tests.unit.cli.stub import Stub, quiesce


def test_the_report_is_one_document_and_tells_of_who_is_overdue() -> None:
    stub = Stub()
    result = quiesce(stub, "report", "--days", "10", "--overdue", "3", "--json")
    document = json.loads(result.stdout)
    assert stub.asked[-1][1:] == (10, 3)  # type: ignore[index]
    assert result.exit_code == 1
    assert list(document) == ["since", "unquiesced", "frozen", "last_good", "overdue"]
    assert document["overdue"] == ["edge1"]
    assert document["frozen"] == [{"machine": "db1", "windows": 3, "mean_ms": 90.5, "longest_ms": 120.25}]
    assert document["last_good"][0] == {"machine": "edge1", "run": None, "at": None}


def test_plain_lines_say_the_same() -> None:
    assert quiesce(Stub(), "report").stdout.splitlines() == [
        'unquiesced run=r1 job=nightly machine=db1 at=2025-01-02T03:04:05.678Z state=done why="=no\\\\nanswer"',
        "frozen machine=db1 windows=3 mean_ms=90.5 longest_ms=120.25",
        "last_good machine=edge1",
        "last_good machine=db1 run=r2 at=2025-01-02T03:04:05.678Z",
        "overdue machine=edge1",
    ]


@pytest.mark.parametrize(
    ("section", "lines"),
    [
        ("unquiesced", ["run,job,machine,at,state,why", "r1,nightly,db1,2025-01-02T03:04:05.678Z,done,'=no\\nanswer"]),
        ("frozen", ["machine,windows,mean_ms,longest_ms", "db1,3,90.5,120.25"]),
        ("last-good", ["machine,run,at", "edge1,,", "db1,r2,2025-01-02T03:04:05.678Z"]),
    ],
)
def test_csv_is_one_table_that_no_spreadsheet_takes_for_a_formula(section: str, lines: list[str]) -> None:
    assert quiesce(Stub(), "report", "--csv", section).stdout.splitlines() == lines
