"""The configuration file: what it gives, and what it says when it is wrong."""

from pathlib import Path
from typing import Any

import pytest

from orchestrator import settings
from orchestrator.errors import ConfigError
from orchestrator.model import CatchUp, Job, Machine, NoticeKind, Notices, PreFlush, Quiesce, Retention, Verify
from orchestrator.settings.tables import LONGEST_SOCKET

DRIVERS = ("external-snapshot", "command", "backup")
EXAMPLE = Path(__file__).parents[2] / "config" / "quiesce.toml"
SOURCE = Path("quiesce.toml")


def problems(document: dict[str, Any]) -> list[str]:
    """The lines of the error that this document causes, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        settings.from_document(document, SOURCE, DRIVERS)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("quiesce.toml: ") for line in lines)
    return [line.removeprefix("quiesce.toml: ") for line in lines]


def document(**job: object) -> dict[str, Any]:
    """A right configuration of two machines, with one job that has these keys besides the needed ones."""
    return {
        "machines": {"db1": {"agent": "unix:/run/db1"}, "db2": {"agent": "unix:/run/db2"}},
        "jobs": {"nightly": {"machines": ["db1"], "driver": "command", **job}},
    }


def the_job(**keys: object) -> Job:
    return settings.from_document(document(**keys), SOURCE, DRIVERS).jobs["nightly"]


def test_the_example_loads() -> None:
    example = settings.load(EXAMPLE, DRIVERS)

    assert example.journal_url == "sqlite:////var/lib/quiesce/journal.db"
    assert dict(example.machines) == {
        "db1": Machine("db1", hypervisor="qemu:///system", domain="db1"),
        "edge1": Machine("edge1", agent="/run/edge1/qga.sock", qmp="/run/edge1/qmp.sock"),
    }
    assert example.jobs["nightly"] == Job(
        "nightly",
        ("db1", "edge1"),
        "external-snapshot",
        schedule="0 2 * * *",
        quiesce=Quiesce.REQUIRED,
        retention=Retention(keep_daily=7, keep_weekly=4),
    )
    assert example.jobs["offsite"] == Job(
        "offsite",
        ("db1",),
        "backup",
        repository="/var/backups/quiesce",
        full_every=7 * 86400.0,
        max_incrementals=20,
        rate=50 << 20,
        copy_limit=86400.0,
        verify=Verify.FILESYSTEM,
        retention=Retention(keep_daily=7, keep_weekly=4),
    )
    assert example.jobs["scripted"].options == {
        "cut": ["/usr/local/bin/my-array-snapshot"],
        "remove": ["/usr/local/bin/my-array-remove"],
    }
    assert example.jobs["scripted"].retention == Retention(keep_last=3)


def test_every_key_of_a_job_arrives() -> None:
    job = the_job(
        machines=["db*"],
        every="90m",
        timezone="Europe/Berlin",
        jitter="10m",
        catch_up="skip",
        blackout=["mon-fri 08:00-18:00"],
        max_parallel=3,
        quiesce="preferred",
        mountpoints=["/", "/srv/data"],
        group=True,
        freeze_timeout="500ms",
        hold_limit="2s",
        thaw_timeout="1h",
        pre_flush="gentle",
        fuse="20s",
        repository="/var/backups/quiesce",
        full_every="14d",
        max_incrementals=6,
        rate="50MiB/s",
        copy_limit="8h",
        before=["/usr/local/bin/may-i"],
        after=["rclone", "copy"],
        hook_timeout="8h",
        retention={"keep_daily": 7, "keep_within": "2d"},
        options={"cut": ["x", 1, 0.5, True, {}], "remove": ["y"]},
    )

    assert job == Job(
        name="nightly",
        machines=("db1", "db2"),
        driver="command",
        every=5400.0,
        timezone="Europe/Berlin",
        jitter=600.0,
        catch_up=CatchUp.SKIP,
        blackout=("mon-fri 08:00-18:00",),
        max_parallel=3,
        quiesce=Quiesce.PREFERRED,
        mountpoints=("/", "/srv/data"),
        group=True,
        freeze_timeout=0.5,
        hold_limit=2.0,
        thaw_timeout=3600.0,
        pre_flush=PreFlush.GENTLE,
        repository="/var/backups/quiesce",
        full_every=14 * 86400.0,
        max_incrementals=6,
        rate=50 << 20,
        copy_limit=8 * 3600.0,
        fuse=20.0,
        before=("/usr/local/bin/may-i",),
        after=("rclone", "copy"),
        hook_timeout=28800.0,
        retention=Retention(keep_daily=7, keep_within=172800.0),
        options={"cut": ["x", 1, 0.5, True, {}], "remove": ["y"]},
    )


def test_an_empty_file_is_a_configuration_without_machines(tmp_path: Path) -> None:
    path = tmp_path / "quiesce.toml"
    path.touch()

    empty = settings.load(path, DRIVERS)

    assert (empty.journal_url, dict(empty.machines), dict(empty.jobs)) == (
        "sqlite:////var/lib/quiesce/journal.db",
        {},
        {},
    )


def test_a_mark_of_the_byte_order_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "windows.toml").write_bytes(b"\xef\xbb\xbf[service]\nmax_parallel = 3\n")
    assert settings.load(tmp_path / "windows.toml", DRIVERS).max_parallel == 3


def test_all_problems_are_told_at_once() -> None:
    wrong = document(hold_limt="5s", freeze_timeout="5 s", every="1h", schedule="* * * *")
    wrong["machines"]["db2"] = {"agent": "unix:/run/db1", "domain": "x"}
    wrong["jornal"] = {}

    assert sorted(line.partition(":")[0] for line in problems(wrong)) == [
        'jobs.nightly.every = "1h"',
        'jobs.nightly.freeze_timeout = "5 s"',
        "jobs.nightly.hold_limt",
        'jobs.nightly.schedule = "* * * *"',
        "jornal",
        'machines.db2.agent = "unix',
        'machines.db2.domain = "x"',
    ]


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"hold_limt": "5s"}, 'jobs.nightly.hold_limt: unknown key; did you mean "hold_limit"?'),
        ({"driver": "comand"}, 'jobs.nightly.driver = "comand": there is no such driver; did you mean "command"?'),
        ({"driver": "backup"}, 'jobs.nightly: driver = "backup" needs a repository'),
        ({"repository": "backups"}, 'jobs.nightly.repository = "backups": must be the absolute path of a folder'),
        ({"rate": "50MiB/s"}, 'jobs.nightly.rate = "50MiB/s": only together with repository'),
        ({"repository": "/r", "rate": "50MB"}, 'jobs.nightly.rate = "50MB": must be a rate such as "50MiB/s"'),
        ({"repository": "/r", "rate": "0MiB/s"}, 'jobs.nightly.rate = "0MiB/s": must be a rate such as "50MiB/s"'),
        ({"repository": "/r", "rate": 50}, "jobs.nightly.rate = 50: must be a rate such as"),
        ({"repository": "/r", "max_incrementals": -1}, "jobs.nightly.max_incrementals = -1: must be greater"),
        ({"timezone": "Berlin"}, 'jobs.nightly.timezone = "Berlin": must be a name of the time zone database'),
        ({"timezone": "Europe"}, 'jobs.nightly.timezone = "Europe": must be a name of the time zone database'),
        ({"blackout": ["mondays"]}, 'jobs.nightly.blackout[0] = "mondays": it is not "DAYS HH:MM-HH:MM"'),
        ({"max_parallel": 0}, "jobs.nightly.max_parallel = 0: must be greater than or equal to 1"),
        ({"catch_up": "all"}, "jobs.nightly.catch_up = \"all\": must be 'once' or 'skip'"),
        ({"machines": ["db3"]}, 'jobs.nightly.machines[0] = "db3": there is no such machine; did you mean "db'),
        ({"machines": ["db1", "x*"]}, 'jobs.nightly.machines[1] = "x*": this glob matches no machine'),
        ({"machines": ["db1", 7]}, "jobs.nightly.machines[1] = 7: must be a machine's name, or a glob"),
        ({"machines": []}, "jobs.nightly.machines = [...]: "),
        ({"machines": "db1"}, 'jobs.nightly.machines = "db1": must be an array'),
        ({"quiesce": "yes"}, "jobs.nightly.quiesce = \"yes\": must be 'required', 'preferred' or 'off'"),
        ({"pre_flush": "hard"}, "jobs.nightly.pre_flush = \"hard\": must be 'off', 'sync' or 'gentle'"),
        ({"group": "true"}, 'jobs.nightly.group = "true": must be true or false'),
        ({"mountpoints": ["srv"]}, 'jobs.nightly.mountpoints[0] = "srv": must be an absolute path'),
        ({"mountpoints": ["/srv/"]}, 'jobs.nightly.mountpoints[0] = "/srv/": must be an absolute path'),
        ({"every": "0s"}, 'jobs.nightly.every = "0s": must be a duration from "1s" to "366d"'),
        ({"hold_limit": "11m"}, 'jobs.nightly.hold_limit = "11m": must be a duration from "100ms" to "10m"'),
        ({"hold_limit": 5}, "jobs.nightly.hold_limit = 5: must be a duration"),
        ({"hold_limit": 16**5000}, "jobs.nightly.hold_limit = a number of more than 64 bits: must be a duration"),
        ({"hold_limit": "-5s"}, 'jobs.nightly.hold_limit = "-5s": must be a duration'),
        ({"hold_limit": "\u0665s"}, 'jobs.nightly.hold_limit = "\\u0665s": must be a duration'),
        ({"fuse": "49s"}, 'jobs.nightly.fuse = "49s": must be at least 50s, freeze_timeout + hold_limit + 15s'),
        ({"fuse": "60s", "hold_limit": "20s"}, 'jobs.nightly.fuse = "60s": must be at least 65s'),
        ({"fuse": "2d"}, 'jobs.nightly.fuse = "2d": must be a duration from "1s" to "1d"'),
        ({"fuse": 60}, "jobs.nightly.fuse = 60: must be a duration"),
        ({"fuse": "1s", "freeze_timeout": 5}, "jobs.nightly.freeze_timeout = 5: must be a duration"),
        ({"driver": "external-snapshot", "retention": 7}, "jobs.nightly.retention = 7: must be a table"),
        (
            {"driver": "external-snapshot", "retention": {}},
            "jobs.nightly.retention = {}: give at least one rule, such as keep_daily = 7",
        ),
        (
            {"driver": "external-snapshot", "retention": {"keep_dialy": 7}},
            'jobs.nightly.retention.keep_dialy: unknown key; did you mean "keep_daily"?',
        ),
        (
            {"driver": "external-snapshot", "retention": {"keep_last": 0}},
            "jobs.nightly.retention.keep_last = 0: must be a number from 1 to 100000",
        ),
        (
            {"driver": "external-snapshot", "retention": {"keep_within": "2w"}},
            'jobs.nightly.retention.keep_within = "2w": must be a duration',
        ),
        (
            {"retention": {"keep_last": 3}, "options": {"cut": ["x"]}},
            "jobs.nightly.retention: the driver command cannot remove what it made without the option `remove`",
        ),
        ({"before": []}, "jobs.nightly.before = [...]: must be a program and its arguments"),
        ({"after": "send offsite"}, 'jobs.nightly.after = "send offsite": must be an array'),
        ({"hook_timeout": "30d"}, 'jobs.nightly.hook_timeout = "30d": must be a duration from "1s" to "7d"'),
        ({"options": {"x": float("nan")}}, "jobs.nightly.options = {...}: may hold only"),
        ({"options": {"x": 16**5000}}, "jobs.nightly.options = {...}: may hold only"),
        ({"options": {"x": SOURCE}}, "jobs.nightly.options = {...}: may hold only"),
    ],
)
def test_a_wrong_value_in_a_job(job: dict[str, object], said: str) -> None:
    (line,) = problems(document(**job))

    assert line.startswith(said)


@pytest.mark.parametrize("name", ["-x", ".x", "a/b", "a b", "", "x" * 65, "ü", "a\n"])
def test_names_that_could_be_taken_for_something_else(name: str) -> None:
    (line,) = problems({"machines": {name: {"agent": "unix:/run/a"}}})

    assert "a name is up to 64 of" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({}, "machines.a: no way to the agent"),
        ({"qmp": "unix:/run/q"}, "machines.a: no way to the agent"),
        ({"hypervisor": "remote"}, 'machines.a.hypervisor = "remote": there is no such hypervisor; known are: local'),
        ({"agent": "unix:/a", "domain": "b"}, 'machines.a.domain = "b": only together with hypervisor'),
        ({"agent": "/run/a"}, 'machines.a.agent = "/run/a": must be "unix:/absolute/path"'),
        ({"agent": "unix:run/a"}, 'machines.a.agent = "unix:run/a": must be'),
        ({"agent": "unix:/run/"}, 'machines.a.agent = "unix:/run/": must be'),
        ({"agent": "unix:/run/\0a"}, 'machines.a.agent = "unix:/run/\\u0000a": must be'),
        ({"agent": "unix:/" + "é" * 54}, "machines.a.agent = "),
        ({"agent": "unix:/run/a", "qmp": "unix:/run//a"}, 'machines.a.qmp = "unix:/run//a": the same socket as'),
    ],
)
def test_a_wrong_machine(machine: dict[str, object], said: str) -> None:
    (line,) = problems({"hypervisors": {"local": {"uri": "qemu:///system"}}, "machines": {"a": machine}})

    assert line.startswith(said)


def test_hostile_and_many_names_make_no_other_lines() -> None:
    wrong = document(machines=["zzz"], schedule="\x1b[2J\x85 * * * *")
    wrong["machines"] = {f"{i}\n\x1b": {"agent": f"unix:/run/{i}"} for i in range(100)}

    said = problems(wrong)

    assert len(said) == 102
    assert all(line.isprintable() and len(line) < 400 for line in said)
    assert said[-2].startswith('jobs.nightly.machines[0] = "zzz": there is no such machine; known are: "0\\n\\u001b", ')
    assert said[-2].endswith(", ...")


def test_the_longest_socket_path_is_right() -> None:
    path = "/" + "x" * (LONGEST_SOCKET - 1)
    right = settings.from_document({"machines": {"a": {"agent": f"unix:{path}"}}}, SOURCE, DRIVERS)

    assert right.machines["a"].agent == path


def test_two_names_for_one_guest_are_refused_naming_both() -> None:
    said = problems(
        {
            "hypervisors": {"one": {"uri": "qemu:///system"}, "two": {"uri": "qemu:///system"}},
            "machines": {
                "a": {"hypervisor": "one"},
                "b": {"hypervisor": "two", "domain": "a", "qmp": "unix:/run/q"},
                "c": {"agent": "unix:/run/./q"},
            },
        }
    )

    assert said == [
        'machines.b = "a": the same domain as machines.a: each machine needs its own',
        'machines.c.agent = "unix:/run/./q": the same socket as machines.b.qmp: each machine needs its own',
    ]


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///relative.db",
        "sqlite://",
        "sqlite:////",
        "sqlite:////x?mode=memory",
        "postgresql://me:hunter2@host/db",
        "postgresql+psycopg://",
        "postgresql+psycopg://me:hunter2@host:99999/db",
        "postgresql+psycopg://me:hunter2@[host/db",
        "me:hunter2@host",
        17,
    ],
)
def test_a_wrong_journal_url_is_refused_without_repeating_it(url: object) -> None:
    (line,) = problems({"journal": {"url": url}})

    assert line.startswith("journal.url = ...: ")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"urls": ["hunter2"]}, "notices.urls[0] = ...: must be an address"),
        ({"urls": "json://hunter2"}, "notices.urls = ...: must be an array"),
        ({"urls_file": "relative"}, 'notices.urls_file = "relative": must be '),
        ({"on": ["never"]}, "notices.on[0] = \"never\": must be 'stuck', "),
        ({"url": "json://hunter2"}, 'notices.url: unknown key; did you mean "urls"?'),
    ],
)
def test_wrong_notices_are_refused_without_showing_an_address(keys: dict[str, object], says: str) -> None:
    (line,) = problems({"notices": keys})
    assert line.startswith(says)
    assert "hunter2" not in line


def test_notices_are_told_to_nobody_or_to_whom_it_says() -> None:
    nobody = settings.from_document({}, SOURCE, DRIVERS).notices
    assert nobody == Notices((), None, frozenset(NoticeKind))
    told = settings.from_document({"notices": {"urls": ["json://me:hunter2@host"], "on": ["stuck"]}}, SOURCE, DRIVERS)
    assert told.notices == Notices(("json://me:hunter2@host",), None, frozenset({NoticeKind.STUCK}))
    assert "hunter2" not in repr(told)


def test_a_password_is_in_no_error_and_no_repr() -> None:
    url = "postgresql+psycopg://me:hunter2@host/db"

    assert "hunter2" not in repr(settings.from_document({"journal": {"url": url}}, SOURCE, DRIVERS))
    assert "hunter2" not in problems({"journal": url})[0]
    assert "hunter2" not in problems({"journal": {"uri": url}})[0]


@pytest.mark.parametrize(
    ("schedule", "said"), [("60 * * * *", "its minute '60' is not 0-59"), ("@daily", "it has 1 fields")]
)
def test_a_wrong_schedule(schedule: str, said: str) -> None:
    (line,) = problems(document(schedule=schedule))

    assert line.startswith(f'jobs.nightly.schedule = "{schedule}": must be a cron expression of 5 fields')
    assert said in line
