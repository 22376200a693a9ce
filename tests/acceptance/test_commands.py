"""The face that scripts rely on: commands, exit codes, one JSON document or plain lines."""

import json
import re
from datetime import UTC, datetime

import pytest

from tests.acceptance.product import Product, outcomes, target
from tests.lab import BareGuest, Guest, LibvirtGuest

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

SUMMARY = {
    *("id", "job", "trigger", "state", "consistency", "targets"),
    *("started_at", "finished_at", "window_ms", "error"),
}
WINDOW = [("freeze", "done"), ("cut", "done"), ("thaw", "done"), ("confirm", "done")]


def test_a_run_freezes_cuts_and_thaws(product: Product, guest: Guest) -> None:
    product.job("vm")
    before = guest.active_disks()
    ended = product.run()
    run = ended.run

    assert (ended.code, ended.err) == (0, "")
    assert run.keys() == {*SUMMARY, "steps"}
    assert (run["job"], run["trigger"], run["error"]) == ("job", "manual", None)
    assert (run["state"], run["consistency"]) == ("done", "filesystem")
    assert outcomes(run) == [("preflight", "done"), ("prepare", "done"), *WINDOW]
    assert [step["figures"] for step in run["steps"] if step["action"] == "freeze" and step["outcome"] == "done"] == [
        {"frozen": 2}
    ]
    assert 0 < target(run)["hold_ms"] < run["window_ms"] == target(run)["window_ms"] < 60_000
    assert guest.frozen_mounts() == []

    snapshot = target(run)["snapshot"]
    assert snapshot["name"] == f"quiesce-{run['id']}"
    assert [disk["path"] for disk in snapshot["disks"]] == [str(path) for path in before]
    assert [disk["overlay"] for disk in snapshot["disks"]] == [str(path) for path in guest.active_disks()]

    shown = product("show", run["id"], "--json")
    assert (shown.code, shown.document) == (0, run)
    del run["steps"]
    assert product.history() == [run]


def test_what_a_pipe_gets_are_lines(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/true"])
    ended = product("run", "job")
    kinds = [line.split(" ")[0] for line in ended.out.splitlines()]
    assert (ended.code, ended.err) == (0, "")
    assert kinds == ["step"] * (len(kinds) - 2) + ["run", "target"]
    assert "\x1b" not in ended.out
    shown = product("show", re.findall(r"^run id=(\S+)", ended.out, re.MULTILINE)[0])
    assert sorted(shown.out.splitlines()) == sorted(ended.out.splitlines())
    (line,) = product("history").out.splitlines()
    assert re.fullmatch(r"run id=\S+ job=job trigger=manual state=done consistency=filesystem .* machines=vm", line)


def test_a_run_of_one_of_the_machines(product: Product, vm: Guest) -> None:
    product.table("machines.other", agent="unix:/nowhere")
    product.job("*", cut=["/bin/true"])
    ended = product.run("--machine", "vm")
    assert (ended.code, [each["machine"] for each in ended.run["targets"]]) == (0, ["vm"])


def test_the_cut_knows_what_it_is_for(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/sh", "-c", "echo $QUIESCE_RUN $QUIESCE_MACHINE $QUIESCE_SNAPSHOT"])
    run = product.run().run
    snapshot = f"quiesce-{run['id']}"
    assert target(run)["snapshot"] == {"name": snapshot, "output": f"{run['id']} vm {snapshot}"}


def test_only_the_chosen_mount_points_are_frozen(product: Product, guest: Guest) -> None:
    product.job("vm", cut=["/bin/true"], mountpoints=["/xfs"])
    run = product.run().run
    assert [step["figures"].get("frozen") for step in run["steps"] if step["action"] == "freeze"] == [None, 1]
    assert (run["state"], run["consistency"]) == ("done", "filesystem")


def test_history_is_asked_for_by_job_machine_and_state(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/true"])
    product.job("vm", name="other", cut=["/bin/false"])
    product("run", "job")
    assert product("run", "other").code == 1
    assert [run["job"] for run in product.history()] == ["other", "job"]
    assert [run["job"] for run in product.history("--limit", "1")] == ["other"]
    assert [run["job"] for run in product.history("--state", "done")] == ["job"]
    assert [run["job"] for run in product.history("--job", "other")] == ["other"]
    assert product.history("--machine", "elsewhere") == []


def test_check_says_whether_a_machine_could_be_quiesced_now(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest
) -> None:
    product.machine("edge", bare_guest)
    product.machine("db", libvirt_guest)
    ended = product("check", "--json")
    assert (ended.code, [report["machine"] for report in ended.document]) == (0, ["edge", "db"])
    for report in ended.document:
        assert (report["ready"], report["problems"]) == (True, [])
        assert (report["power"], report["freeze_status"]) == ("running", "thawed")
        assert re.match(r"[0-9]+\.", report["agent_version"])
        assert {each["mountpoint"]: each["type"] for each in report["filesystems"]} == {"/data": "ext4", "/xfs": "xfs"}
    assert product.history() == []

    bare_guest.agent("guest-fsfreeze-freeze")
    frozen = product("check", "edge", "--json")
    assert (frozen.code, frozen.document[0]["ready"], frozen.document[0]["freeze_status"]) == (5, False, "frozen")
    assert bare_guest.fs_frozen()


def test_an_agent_that_may_not_freeze_is_said_by_check_and_refused_by_run(product: Product, vm: BareGuest) -> None:
    vm.restart_agent("-b guest-fsfreeze-freeze")
    product.job("vm", cut=["/bin/true"])
    checked = product("check", "--json")
    assert (checked.code, checked.document[0]["ready"]) == (1, False)
    ended = product.run()
    assert (ended.code, ended.run["state"]) == (1, "failed")
    for text in (checked.document[0]["problems"][0], ended.run["error"]):
        assert "does not allow guest-fsfreeze-freeze" in text


def test_machines_and_jobs_are_listed_from_the_configuration_alone(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("*", cut=["/bin/true"], schedule="0 2 * * *")
    machines, jobs = product("machines", "--json"), product("jobs", "--json")
    assert (machines.code, jobs.code) == (0, 0)
    nothing = {"hypervisor": None, "domain": None, "qmp": None}
    assert machines.document == [{"name": "vm", "agent": "/nowhere", **nothing}]
    (job,) = jobs.document
    assert (job["name"], job["machines"], job["schedule"], job["hold_limit"]) == ("job", ["vm"], "0 2 * * *", 5.0)
    assert not product.journal.exists()


def test_db_upgrade_makes_the_journal_once(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    first, second = product("db", "upgrade", "--json"), product("db", "upgrade", "--json")
    assert (first.code, second.code) == (0, 0)
    assert first.document["from"] is None
    assert second.document == {"from": first.document["to"], "to": first.document["to"]}


def test_times_are_utc_and_in_order(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/true"])
    before = datetime.now(UTC)
    run = product.run().run
    at = [run["started_at"], *(step["at"] for step in run["steps"]), run["finished_at"]]
    times = [datetime.fromisoformat(text) for text in at]
    assert times == sorted(times)
    assert (times[0] - before).total_seconds() > -0.001
    assert times[-1] <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "nothing"], "there is no job 'nothing'; the configuration has: job"),
        (["run", "job", "--machine", "no"], "job 'job' has no machine 'no'; it has: vm"),
        (["show", "2026"], "no run"),
        (["thaw", "no"], "there is no machine 'no'; the configuration has: vm"),
        (["check", "no"], "there is no machine 'no'; the configuration has: vm"),
    ],
)
def test_a_name_that_does_not_exist_is_a_mistake(product: Product, words: list[str], said: str) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/true"])
    ended = product(*words, "--json")
    assert ended.code == 2
    assert said in ended.err
    assert said in ended.document["error"]["message"]


def test_a_wrong_command_line_is_a_mistake(product: Product) -> None:
    for words in (["explode"], ["run"], ["history", "--limit", "0"], ["history", "--state", "odd"]):
        ended = product(*words)
        assert (ended.code, ended.out) == (2, "")
        assert json.dumps(ended.err) != '""'
