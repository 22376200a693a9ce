"""What each command asks, shows and exits with."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.acts import PowerAct, PowerMode, PowerRequest, SuspendTarget
from orchestrator.cli import make_app
from orchestrator.model import FreezeStatus, Health, State
from tests.unit.cli.stub import DB1, DONE, FREEZE, READY, Stub, quiesce

RUN = {
    "id": "20250102-030405-abcdef",
    "job": "nightly",
    "trigger": "manual",
    "state": "done",
    "consistency": "filesystem",
    "targets": [
        {
            "machine": "db1",
            "state": "done",
            "consistency": "filesystem",
            "snapshot": {"name": "quiesce-r1", "disks": []},
            "window_ms": 98.765,
            "hold_ms": 40.0,
            "error": None,
        }
    ],
    "started_at": "2025-01-02T03:04:05.678Z",
    "finished_at": "2025-01-02T03:04:05.678Z",
    "window_ms": 98.765,
    "error": None,
}
STEP = {
    "machine": "db1",
    "action": "freeze",
    "outcome": "done",
    "at": "2025-01-02T03:04:05.678Z",
    "monotonic": 10.5,
    "duration_ms": 12.346,
    "figures": {"sent": True, "frozen": 2},
    "error": None,
}


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["run", "nightly"], ("nightly", None)),
        (["run", "nightly", "--machine", "db1"], ("nightly", "db1")),
        (["history"], (20, None, None, None)),
        (["history", "--job", "a", "--machine", "b", "--state", "stuck", "--limit", "3"], (3, "a", "b", State.STUCK)),
        (["show", "2025"], ("2025",)),
        (["thaw", "db1"], ("db1", False, None)),
        (["thaw", "db1", "--force"], ("db1", True, None)),
        (["thaw", "db1", "--force", "--reason", "reset"], ("db1", True, "reset")),
        (["snapshots"], ("snapshots", None)),
        (["snapshots", "db1"], ("snapshots", "db1")),
        (["prune"], ("prune", None, None, False)),
        (["prune", "nightly", "--dry-run"], ("prune", "nightly", None, True)),
        (["recover"], ()),
        (["agent", "db1", "users"], ("db1", "users")),
        (["agent", "db1", "trim"], ("db1",)),
        (["channel", "show", "db1"], ("show", "db1")),
        (["channel", "remove", "db1", "--live"], ("remove", "db1", "org.qemu.guest_agent.0", ("live",))),
        (["power", "shutdown", "db1"], ("db1", PowerRequest(PowerAct.SHUTDOWN), 60.0)),
        (["power", "reboot", "db1", "--mode", "acpi"], ("db1", PowerRequest(PowerAct.REBOOT, PowerMode.ACPI), 60.0)),
        (["power", "wakeup", "db1", "--wait", "5s"], ("db1", PowerRequest(PowerAct.WAKEUP), 5.0)),
        (
            ["power", "suspend", "db1", "--target", "hybrid"],
            ("db1", PowerRequest(PowerAct.SUSPEND, target=SuspendTarget.HYBRID), 60.0),
        ),
        (["recover", "--all"], ()),
        (["check", "db1"], ("db1",)),
        (["check"], ("db1",)),
        (["machines"], (Path("some.toml"),)),
        (["jobs"], (Path("some.toml"),)),
        (["jobs", "--next", "2"], (Path("some.toml"),)),
        (["pause", "job", "nightly"], (Path("some.toml"),)),
        (["resume", "machine", "db1"], (Path("some.toml"),)),
        (["reload"], (Path("some.toml"),)),
        (["init"], (Path("some.toml"), "qemu:///system")),
        (["db", "vacuum"], (Path("some.toml"),)),
        (["serve"], (Path("some.toml"),)),
        (["db", "upgrade"], (Path("some.toml"),)),
    ],
)
def test_what_is_asked(arguments: list[str], asked: tuple[object, ...]) -> None:
    stub = Stub()

    result = quiesce(stub, *arguments)

    assert (result.exit_code, result.stderr) == (0, "")
    assert stub.asked[-1] == asked


def test_the_configuration_is_named_by_the_environment_or_is_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUIESCE_CONFIG", raising=False)
    system, named = Stub(), Stub()
    CliRunner().invoke(make_app(system), ["history"])
    CliRunner().invoke(make_app(named), ["history"], env={"QUIESCE_CONFIG": "/other.toml"})

    assert system.asked[0] == Path("/etc/quiesce/quiesce.toml")
    assert named.asked[0] == Path("/other.toml")


@pytest.mark.parametrize(
    ("arguments", "document"),
    [
        (["run", "nightly"], {**RUN, "steps": [STEP]}),
        (["show", "2025"], {**RUN, "steps": [STEP]}),
        (["thaw", "db1"], {**RUN, "steps": [STEP]}),
        (["history"], [RUN]),
        (["recover"], [RUN]),
        (
            ["recover", "--all"],
            {"runs": [RUN], "machines": [{"machine": "db1", "saw": "thawed", "run": None, "detail": None}]},
        ),
        (["serve"], {"stopped": True}),
        (["reload"], {"reloading": 4711}),
        (["init"], {"written": "some.toml", "domains": ["db1"]}),
        (["db", "vacuum"], {"forgotten": 3}),
        (["pause", "job", "nightly"], {"kind": "job", "name": "nightly", "paused": True, "changed": True}),
        (["resume", "machine", "db1"], {"kind": "machine", "name": "db1", "paused": False, "changed": False}),
        (
            ["jobs", "--next", "1"],
            [
                {
                    "job": "nightly",
                    "paused": False,
                    "paused_by": None,
                    "reason": None,
                    "next": ["2025-01-02T03:04:05.678Z"],
                }
            ],
        ),
        (["db", "upgrade"], {"from": None, "to": "0001"}),
        (
            ["check", "db1"],
            [
                {
                    "machine": "db1",
                    "ready": True,
                    "power": "running",
                    "agent_version": "7.2.0",
                    "freeze_status": "thawed",
                    "filesystems": [{"mountpoint": "/", "device": "vda1", "type": "ext4"}],
                    "problems": [],
                    "os": None,
                    "exec_allowed": None,
                    "hazards": [],
                    "held_by": None,
                    "last_windows_ms": [],
                }
            ],
        ),
        (["machines"], [{"name": "db1", "hypervisor": "qemu:///system", "domain": "db1", "agent": None, "qmp": None}]),
        (
            ["jobs"],
            [
                {
                    "name": "nightly",
                    "machines": ["db1"],
                    "driver": "external-snapshot",
                    "schedule": "0 2 * * *",
                    "every": None,
                    "timezone": None,
                    "jitter": 0.0,
                    "catch_up": "once",
                    "blackout": [],
                    "max_parallel": None,
                    "quiesce": "required",
                    "mountpoints": [],
                    "group": False,
                    "freeze_timeout": 30.0,
                    "hold_limit": 5.0,
                    "thaw_timeout": 60.0,
                    "pre_flush": "off",
                    "fuse": None,
                    "repository": None,
                    "full_every": 604800.0,
                    "max_incrementals": None,
                    "rate": None,
                    "copy_limit": 86400.0,
                    "verify": None,
                    "before": [],
                    "after": [],
                    "hook_timeout": 600.0,
                    "retention": None,
                    "options": {},
                }
            ],
        ),
    ],
)
def test_json_is_one_document_with_these_fields_in_this_order(arguments: list[str], document: Any) -> None:
    result = quiesce(Stub(), *arguments, "--json")

    assert (result.exit_code, result.stderr) == (0, "")
    assert json.dumps(json.loads(result.stdout)) == json.dumps(document)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ["run", "nightly"],
            [
                "step machine=db1 action=freeze outcome=done at=2025-01-02T03:04:05.678Z duration_ms=12.346"
                " sent=true frozen=2",
                "run id=20250102-030405-abcdef job=nightly trigger=manual state=done consistency=filesystem"
                " started_at=2025-01-02T03:04:05.678Z finished_at=2025-01-02T03:04:05.678Z window_ms=98.765",
                "target machine=db1 state=done consistency=filesystem snapshot=quiesce-r1"
                " window_ms=98.765 hold_ms=40.0",
            ],
        ),
        (
            ["history"],
            [
                "run id=20250102-030405-abcdef job=nightly trigger=manual state=done consistency=filesystem"
                " started_at=2025-01-02T03:04:05.678Z finished_at=2025-01-02T03:04:05.678Z window_ms=98.765"
                " machines=db1"
            ],
        ),
        (["machines"], ["machine name=db1 hypervisor=qemu:///system domain=db1"]),
        (
            ["check"],
            [
                "machine machine=db1 ready=true power=running agent_version=7.2.0 freeze_status=thawed",
                "filesystem machine=db1 mountpoint=/ device=vda1 type=ext4",
            ],
        ),
        (
            ["jobs"],
            [
                'job name=nightly machines=db1 driver=external-snapshot schedule="0 2 * * *" jitter=0.0'
                " catch_up=once quiesce=required"
                " group=false freeze_timeout=30.0 hold_limit=5.0 thaw_timeout=60.0 pre_flush=off"
                " full_every=604800.0 copy_limit=86400.0 hook_timeout=600.0"
            ],
        ),
        (["serve"], []),
        (["db", "upgrade"], ["journal to=0001"]),
    ],
)
def test_plain_lines(arguments: list[str], lines: list[str]) -> None:
    assert quiesce(Stub(), *arguments).stdout.splitlines() == lines


def test_plain_show_has_the_steps_without_what_does_not_fit_a_line() -> None:
    step = replace(FREEZE, figures={"frozen": 2, "plan": {"overlays": []}, "made": []}, error="a b")

    shown = quiesce(Stub(runs=(replace(DONE, steps=(step,)),)), "show", "2025").stdout.splitlines()

    assert [line.split()[0] for line in shown] == ["run", "target", "step"]
    assert shown[-1].endswith(' duration_ms=12.346 frozen=2 error="a b"')


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (READY, 0),
        (replace(READY, problems=("the machine is paused",)), 1),
        (replace(READY, freeze_status=FreezeStatus.FROZEN, problems=("it is frozen",)), 5),
    ],
)
def test_check_exits_with_the_worst(report: Health, code: int) -> None:
    db2 = replace(DB1, name="db2")
    stub = Stub(machines={"db1": DB1, "db2": db2}, reports={"db1": report, "db2": replace(READY, machine="db2")})

    assert quiesce(stub, "check").exit_code == code
    assert quiesce(stub, "check", "db2").exit_code == 0
