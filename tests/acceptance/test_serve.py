"""The daemon: recovers, runs what is due, and ends without leaving a window open."""

import signal

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product
from tests.fakes.mailbox import Mailbox
from tests.lab import PATIENCE, Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


def test_it_runs_what_is_due_until_it_is_asked_to_stop(product: Product, vm: Guest) -> None:
    product.job("vm", cut=["/bin/true"], every="1s")
    product.job("vm", name="never", cut=["/bin/false"], schedule="0 0 29 2 *")
    serving = product.start("serve", "--json")
    wait_for(lambda: product.states()[:2] == ["done", "done"] or None, PATIENCE, "two runs", poll=0.2)
    serving.send(signal.SIGTERM)
    ended = serving.wait()
    assert (ended.code, ended.document) == (0, {"stopped": True})
    assert "event='run ended' run='" in ended.err
    assert {(run["job"], run["trigger"], run["state"]) for run in product.history()} == {("job", "schedule", "done")}
    assert not vm.fs_frozen()


def test_it_lets_an_open_window_close(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut, every="7d")  # due now, because it has never run
    serving = product.start("serve")
    gate.wait_entered()
    serving.send(signal.SIGTERM)
    serving.wait_said("stopping")
    assert serving.alive
    assert vm.fs_frozen()
    gate.open()
    ended = serving.wait()
    assert ended.code == 0
    assert not vm.fs_frozen()
    assert [(run["state"], run["consistency"]) for run in product.history()] == [("done", "filesystem")]


def test_it_recovers_first_and_takes_no_notice_of_what_it_cannot_run(product: Product, vm: Guest, gate: Gate) -> None:
    product.job("vm", cut=gate.cut)
    killed = product.start("run", "job")
    gate.wait_entered()
    killed.send(signal.SIGKILL)
    killed.wait()
    product.job("vm", name="broken", cut=["/nowhere/program"], every="1s")
    serving = product.start("serve")
    wait_for(lambda: not vm.fs_frozen(), PATIENCE, "the thaw")
    wait_for(lambda: product.states().count("failed") or None, 30, "a run that fails", poll=0.2)
    assert serving.alive
    serving.send(signal.SIGINT)
    assert serving.wait().code == 0
    assert product.history("--job", "job")[0]["state"] == "recovered"


def test_a_journal_that_cannot_be_used_ends_it_at_once(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/true"], every="1s")
    product.journal = product.folder
    product.table("machines.vm", agent="unix:/nowhere")
    ended = product("serve")
    assert (ended.code, ended.out) == (1, "")
    assert f"sqlite:///{product.folder}" in ended.err


def test_it_reads_its_configuration_again_and_refuses_a_wrong_one(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/true"], schedule="0 0 29 2 *")
    assert product("reload").code == 2  # there is no service yet
    serving = product.start("serve")
    serving.wait_said("serving")
    product.job("vm", name="more", cut=["/bin/true"], schedule="0 0 29 2 *")
    assert product("reload").code == 0
    serving.wait_said("+more")
    good = product.file.read_text()
    product.file.write_text("nonsense")
    assert product("reload").code == 2  # said at once, and the service is left alone
    serving.send(signal.SIGHUP)
    serving.wait_said("the old one goes on")
    product.file.write_text(good)
    second = product("serve")
    assert second.code == 1
    assert "there is a service already" in second.err
    serving.send(signal.SIGTERM)
    assert serving.wait().code == 0


def test_what_is_paused_is_let_go(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/true"], every="1s")
    paused = product("pause", "job", "job", "--reason", "the disks are being moved", "--json")
    assert paused.document == {"kind": "job", "name": "job", "paused": True, "changed": True}
    assert product("pause", "job", "jib").code == 2
    [job] = product("jobs", "--next", "2", "--json").document
    assert (job["paused"], job["reason"], len(job["next"])) == (True, "the disks are being moved", 2)
    serving = product.start("serve")
    serving.wait_said("the job is paused")
    assert product("resume", "job", "job").code == 0
    wait_for(lambda: product.states() or None, 60, "a run", poll=0.2)
    serving.send(signal.SIGTERM)
    assert serving.wait().code == 0


def test_prometheus_is_told_what_the_journal_knows(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/false"], every="7d", quiesce="off")
    assert product.run().code == 1  # by a process of its own
    serving = product.start("serve")
    serving.wait_said("target ended")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(product.api)), base_url="http://quiesce") as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    [runs] = [family for family in text_string_to_metric_families(answer.text) if family.name == "quiesce_runs"]
    assert [(sample.labels, sample.value) for sample in runs.samples] == [
        ({"job_name": "job", "state": "failed", "consistency": "none"}, 2)
    ]
    assert 'quiesce_targets_ended_total{consistency="none",job_name="job",state="failed"} 1.0' in answer.text
    serving.send(signal.SIGTERM)
    assert serving.wait().code == 0


def test_people_are_told_of_a_run_that_failed_and_nobody_sees_their_address(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/false"], every="7d", quiesce="off")
    with Mailbox() as mailbox:
        product.table("notices", urls=[mailbox.url])
        tried = product("notices", "test")
        assert (tried.code, mailbox.take()["title"]) == (0, "quiesce: a test")
        serving = product.start("serve")
        told = mailbox.take()
        serving.send(signal.SIGTERM)
        ended = serving.wait()
    [run] = product.history()
    assert told["title"].endswith(": 1 failed")
    assert told["message"].startswith(f"job, run {run['id']}: FAILED vm: ")
    assert "The guest was never frozen. Next: `quiesce show" in told["message"]
    assert ended.code == 0
    assert "s3cret" not in tried.out + tried.err + ended.err
