"""The commands for backups: what they ask for, what they show, and how they end."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.errors import RepositoryAway
from orchestrator.model import Checked, Finding, Flaw, ImageFormat, Verify, Wanted
from tests.unit.cli.stub import VERIFIED, Stub, quiesce

DAMAGED = Checked("/backups", (Finding(Flaw.DAMAGE, "db1/r/vda.qcow2", "its sum is \x1b[31mwrong", "db1", "r"),))


def test_restore_asks_for_what_the_command_line_says() -> None:
    stub = Stub()

    words = ["--machine", "db1", "--disk", "vda", "--format", "raw", "--force", "--define", "db2"]
    ended = quiesce(stub, "restore", "2025", "--to", "out", *words)

    assert ended.exit_code == 0
    wanted = Wanted("2025", "db1")
    assert stub.asked == [(Path("some.toml"),), (wanted, Path("out"), "vda", ImageFormat.RAW, True, "db2")]


def test_restore_without_a_configuration() -> None:
    stub = Stub()

    assert quiesce(stub, "restore", "2025", "--to", "out", "--repository", "/backups").exit_code == 0
    assert stub.asked[0] == (Path("/backups"),)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-01 12:00+02:00", datetime(2026, 11, 1, 10, 0, tzinfo=UTC)),
        ("2026-11-01T12:00:30Z", datetime(2026, 11, 1, 12, 0, 30, tzinfo=UTC)),
    ],
)
def test_restore_at_a_time(text: str, time: datetime) -> None:
    stub = Stub()

    assert quiesce(stub, "restore", "--machine", "db1", "--at", text, "--to", "out").exit_code == 0
    assert stub.asked[1] == (Wanted(None, "db1", time), Path("out"), None, ImageFormat.QCOW2, False, None)


def test_a_time_without_an_offset_is_local() -> None:
    stub = Stub()

    quiesce(stub, "restore", "--at", "2026-11-01 12:00", "--to", "out")

    local = datetime(2026, 11, 1, 12, 0).astimezone()
    assert stub.asked[1] == (Wanted(None, None, local), Path("out"), None, ImageFormat.QCOW2, False, None)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "say which backup: RUN, or --at TIME"),
        (["2025", "--at", "2026-11-01"], "say which backup: RUN, or --at TIME"),
        (["--at", "yesterday"], "--at 'yesterday' is no time"),
        (["--at", "9999-12-31 23:59-14:00"], "is no time"),
    ],
)
def test_restore_of_nobody_knows_what(words: list[str], reason: str) -> None:
    stub = Stub()

    ended = quiesce(stub, "restore", "--to", "out", *words)

    assert ended.exit_code == 2
    assert reason in ended.stderr
    assert stub.asked == []


def test_what_was_restored_is_told() -> None:
    document = json.loads(quiesce(Stub(), "restore", "2025", "--to", "out", "--json").stdout)
    assert document == {
        "run": "20250102-030405-abcdef",
        "machine": "db1",
        "cut_at": "2026-11-28T06:00:00.000Z",
        "consistency": "filesystem",
        "repository": "/backups",
        "disks": [{"name": "vda", "path": "/to/vda.raw", "format": "raw"}],
        "domain": "db2",
        "uuid": "uuid",
    }

    lines = quiesce(Stub(), "restore", "2025", "--to", "out").stdout.splitlines()
    assert lines[0].startswith("restored run=20250102-030405-abcdef machine=db1 cut_at=2026-11-28T06:00:00.000Z ")
    assert lines[1:] == ["disk name=vda path=/to/vda.raw format=raw"]


def test_a_repository_without_findings_is_well() -> None:
    ended = quiesce(Stub(), "repo", "check")

    assert (ended.exit_code, ended.stdout) == (0, "repository path=/backups findings=0\n")


def test_findings_are_told_and_end_with_1() -> None:
    stub = Stub(checked=(DAMAGED,))

    ended = quiesce(stub, "repo", "check", "--json")
    assert ended.exit_code == 1
    [report] = json.loads(ended.stdout)
    assert report["repository"] == "/backups"
    assert [finding["flaw"] for finding in report["findings"]] == ["damage"]

    ended = quiesce(stub, "repo", "check", "--repository", "/backups")
    assert ended.exit_code == 1
    assert "finding repository=/backups flaw=damage path=db1/r/vda.qcow2" in ended.stdout
    assert "\x1b" not in ended.stdout
    assert stub.asked == [(Path("some.toml"),), (Path("/backups"),)]


def test_a_repository_that_is_away_ends_with_1() -> None:
    ended = quiesce(Stub(error=RepositoryAway("/backups is no repository")), "restore", "2025", "--to", "out")

    assert ended.exit_code == 1
    assert ended.stderr.splitlines() == [
        "quiesce: /backups is no repository",
        "quiesce: Mount the repository's file system and try again. Nothing was written.",
    ]


@pytest.mark.parametrize(("words", "way"), [([], Verify.FILESYSTEM), (["--boot"], Verify.BOOT)])
def test_verify_asks_for_what_the_command_line_says(words: list[str], way: Verify) -> None:
    stub = Stub()

    assert quiesce(stub, "verify", "2025", "--machine", "db1", *words).exit_code == 0
    assert stub.asked == [(Path("some.toml"),), (Wanted("2025", "db1"), way)]


def test_a_backup_that_is_to_be_trusted() -> None:
    ended = quiesce(Stub(), "verify", "2025", "--json")

    assert (ended.exit_code, ended.stderr) == (0, "")
    document = json.loads(ended.stdout)
    assert (document["trusted"], document["problems"], document["verify"]) == (True, [], "filesystem")
    assert document["filesystems"] == [
        {"disk": "vda", "offset": 1048576, "type": "ext4", "clean": True, "needs_recovery": False, "text": None}
    ]
    lines = quiesce(Stub(), "verify", "2025").stdout.splitlines()
    assert lines[1] == "filesystem disk=vda offset=1048576 type=ext4 clean=true needs_recovery=false"


def test_a_backup_that_is_not_to_be_trusted_ends_with_1_and_says_what_to_do() -> None:
    verified = replace(VERIFIED, problems=("vda is \x1b[31mdamaged",), not_journaled="the journal has no run x")

    ended = quiesce(Stub(verified=verified), "verify", "2025")

    assert ended.exit_code == 1
    assert "trusted=false" in ended.stdout
    assert ended.stderr.splitlines() == [
        "NOT TRUSTED db1 of 20250102-030405-abcdef: vda is \\x1b[31mdamaged",
        "quiesce: Do not rely on this backup: look at an earlier one, and at what made this one so.",
        "quiesce: not in the history: the journal has no run x",
    ]
