"""Machines, jobs and pauses over the API: what the commands do, with the same documents."""

from orchestrator.model import Role
from tests.api.site import Site
from tests.journals import a_run

MACHINES = "/api/v1/machines"


def test_machines_and_jobs_are_listed_as_they_are_configured(site: Site) -> None:
    [machine] = site.local.get(MACHINES).json()
    [job] = site.local.get("/api/v1/jobs").json()
    assert (machine["name"], job["name"], job["machines"], job["hold_limit"]) == ("vm", "nightly", ["vm"], 5)


def test_a_machine_is_asked_whether_it_could_be_quiesced(site: Site) -> None:
    health = site.local.get(f"{MACHINES}/vm/check").json()
    assert (health["machine"], health["ready"]) == ("vm", True)
    assert site.local.get(f"{MACHINES}/other/check").status_code == 404


def test_a_guest_that_somebody_else_froze_is_thawed_with_force_only(site: Site) -> None:
    guest = site.world.guests["vm"]
    guest.frozen, guest.believes_frozen = {"/", "/data"}, True
    refused = site.local.post(f"{MACHINES}/vm/thaw", json={})
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:quiesce:FrozenByOther")
    assert "--force" in refused.json()["advice"]
    assert site.local.post(f"{MACHINES}/vm/thaw", json={"reason": "x"}).status_code == 422
    thawed = site.local.post(f"{MACHINES}/vm/thaw", json={"force": True})
    assert (thawed.status_code, thawed.json()["trigger"], thawed.json()["state"]) == (200, "thaw", "done")
    assert not guest.frozen


def test_what_dead_processes_left_is_recovered(site: Site) -> None:
    site.service.run("nightly")
    left = site.journal.open_run(a_run("left", "vm"))
    site.world.gone.add(left.owner)
    answer = site.local.post("/api/v1/recover", json={"all": True}).json()
    assert [(run["id"], run["state"]) for run in answer["runs"]] == [("left", "recovered")]
    assert [(seen["machine"], seen["saw"]) for seen in answer["machines"]] == [("vm", "thawed")]


def test_snapshots_are_listed(site: Site) -> None:
    run = site.service.run("nightly")
    [snapshot] = site.local.get("/api/v1/snapshots", params={"machine": "vm"}).json()
    assert (snapshot["run"], snapshot["consistency"]) == (run.id, "filesystem")
    assert site.local.get("/api/v1/snapshots", params={"machine": "other"}).json() == []


def test_a_pause_says_who_wanted_it_and_is_resumed_once(site: Site) -> None:
    headers = site.headers(Role.OPERATOR)
    path = "/api/v1/jobs/nightly/pause"
    paused = site.remote.put(path, json={"reason": "the disks are moved"}, headers=headers)
    assert paused.json() == {"kind": "job", "name": "nightly", "paused": True, "changed": True}
    assert site.local.put(path, json={}).json()["changed"] is False
    [pause] = site.local.get("/api/v1/pauses").json()
    assert pause["by"].endswith("from 127.0.0.1")
    assert (pause["kind"], pause["name"], pause["reason"]) == ("job", "nightly", "the disks are moved")
    assert site.local.delete(path).json()["changed"] is True
    assert site.local.delete(path).json()["changed"] is False
    assert site.local.put(f"{MACHINES}/vm/pause", json={}).json()["kind"] == "machine"
    assert site.local.delete(f"{MACHINES}/vm/pause").json()["changed"] is True
    assert site.local.put("/api/v1/jobs/weekly/pause", json={}).status_code == 404


def test_the_records_are_shown(site: Site) -> None:
    site.local.delete("/api/v1/jobs/nightly/pause")
    [deed] = site.local.get("/api/v1/audit").json()
    assert (deed["act"], deed["subject"]) == ("DELETE /api/v1/jobs/{job}/pause", "nightly")
    assert site.local.get("/api/v1/report").json()["overdue"] == []
    assert site.local.get("/api/v1/coming").json() == []
