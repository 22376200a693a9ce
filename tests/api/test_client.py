"""`quiesce --server`: the same commands through the API, with the same output and exit codes."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orchestrator import documents
from orchestrator.cli import make_app
from orchestrator.errors import Rejected
from orchestrator.main import Wiring
from orchestrator.model import Role, State
from tests.api.site import Site
from tests.journals import a_run


def quiesce(site: Site, *words: str) -> Result:
    return CliRunner().invoke(make_app(Wiring()), ["--server", f"unix:{site.path}", *words])


def document(site: Site, *words: str) -> Any:
    result = quiesce(site, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_run_is_followed_to_its_end_and_shown_as_here(site: Site) -> None:
    result = quiesce(site, "run", "nightly")
    assert (result.exit_code, result.stderr) == (0, "")
    [run] = site.journal.history(1)
    assert len(result.stdout.splitlines()) >= len(site.journal.run(run.id).steps)
    assert document(site, "show", run.id) == json.loads(json.dumps(documents.run(site.journal.run(run.id))))
    assert document(site, "history") == json.loads(json.dumps([documents.summary(run)]))


def test_what_cannot_be_is_said_as_here(site: Site) -> None:
    there = {
        "run weekly": "there is no job 'weekly'; the configuration has: nightly",
        "show nothing": "there is no run 'nothing' in the journal",
        "thaw other": "there is no machine 'other'",
        "pause job weekly": "there is no job 'weekly'",
    }
    host = ("serve", "token list", "repo check", "agent vm info", "db upgrade", "prune")
    for words, said in (there | dict.fromkeys(host, "works on the service's own host")).items():
        result = quiesce(site, *words.split())
        assert said in result.stderr, words
        assert result.exit_code == 2, words


def test_a_run_that_fails_and_one_that_is_refused_exit_as_here(site: Site) -> None:
    def fail() -> None:
        raise Rejected("the array is away")

    site.world.storages["vm"].before["cut"].append(fail)
    failed = quiesce(site, "run", "nightly")
    assert failed.exit_code == 1
    assert "FAILED vm: " in failed.stderr
    site.journal.open_run(a_run("theirs", "vm"))
    refused = quiesce(site, "run", "nightly")
    assert refused.exit_code == 5
    assert "REFUSED vm: run theirs is open on this machine" in refused.stderr


def test_a_frozen_guest_is_refused_and_thawed_with_force(site: Site) -> None:
    guest = site.world.guests["vm"]
    guest.frozen, guest.believes_frozen = {"/"}, True
    assert quiesce(site, "check", "vm").exit_code == 5
    refused = quiesce(site, "thaw", "vm")
    assert refused.exit_code == 5
    assert "quiesce thaw MACHINE --force" in refused.stderr
    assert document(site, "thaw", "vm", "--force")["state"] == "done"


def test_a_guest_that_is_stuck_is_listed_first_however_old_it_is(site: Site) -> None:
    run = site.journal.open_run(a_run("stuck", "db1"))
    for state in (State.RUNNING, State.STUCK):
        site.journal.move(run, replace(run.target("db1"), state=state, error="no answer"), [])
    site.service.run("nightly")
    result = quiesce(site, "history", "--limit", "1")
    assert "STUCK db1: no answer" in result.stderr


def test_machines_jobs_and_pauses_are_the_service_s(site: Site) -> None:
    assert [machine["name"] for machine in document(site, "machines")] == ["vm"]
    [job] = document(site, "jobs")
    assert (job["name"], job["quiesce"], job["machines"]) == ("nightly", "required", ["vm"])
    assert document(site, "pause", "machine", "vm")["changed"] is True
    assert document(site, "resume", "machine", "vm")["changed"] is True
    assert document(site, "snapshots") == []
    site.service.run("nightly")
    assert [each["machine"] for each in document(site, "snapshots", "vm")] == ["vm"]
    assert document(site, "check", "vm")[0]["ready"] is True
    assert document(site, "recover") == []
    assert document(site, "report")["overdue"] == []
    assert [deed["act"] for deed in document(site, "audit", "--limit", "1")] == ["POST /api/v1/recover"]


def test_a_token_is_read_from_a_file_or_from_the_environment(site: Site, tmp_path: Path) -> None:
    url, file, app = str(site.remote.base_url), tmp_path / "token", make_app(Wiring())
    words = ["--server", url, "history"]
    assert CliRunner().invoke(app, words).exit_code == 2
    file.write_text(site.token(Role.VIEWER) + "\n")
    assert CliRunner().invoke(app, ["--token-file", str(file), *words]).exit_code == 0
    denied = CliRunner().invoke(app, ["--token-file", str(file), "--server", url, "run", "nightly"])
    assert denied.exit_code == 2
    assert "this is for who is operator" in denied.stderr
    assert CliRunner().invoke(app, words, env={"QUIESCE_TOKEN": site.token(Role.VIEWER)}).exit_code == 0
    assert CliRunner().invoke(app, ["--token-file", "/nowhere", *words]).exit_code == 2


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1:1", "ftp://localhost", "localhost:8420", "unix:relative", "http://["]
)
def test_a_token_crosses_no_network_in_the_open(url: str) -> None:
    result = CliRunner().invoke(make_app(Wiring()), ["--server", url, "history"])
    assert result.exit_code == 2
    assert "must not cross a network" in result.stderr


def test_a_service_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(make_app(Wiring()), ["--server", url, "run", "nightly"])
    assert result.exit_code == 1
    assert f"the service at {url} cannot be reached" in result.stderr
