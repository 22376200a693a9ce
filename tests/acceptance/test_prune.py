"""Retention, as its users have it: after each run, by hand, and in the daemon."""

import signal
from pathlib import Path

import pytest

from tests.acceptance.product import Product
from tests.lab import Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

ARRAY = """#!/bin/sh -e
cd "$(dirname "$0")"
case "$1" in
    cut) touch "$QUIESCE_SNAPSHOT" ;;
    remove) rm -f "$QUIESCE_SNAPSHOT" ;;
    broken) echo "the array is away" >&2; exit 3 ;;
esac
"""


class Array:
    """A storage array whose snapshots are files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.program = str(folder / "array")
        folder.mkdir()
        Path(self.program).write_text(ARRAY)
        Path(self.program).chmod(0o755)

    @property
    def snapshots(self) -> list[str]:
        return sorted(path.name for path in self._folder.glob("quiesce-*"))

    def configure(self, product: Product, remove: str = "remove", **keys: str) -> None:
        product.job("vm", cut=[self.program, "cut"], **keys)
        product.table("jobs.job.options", cut=[self.program, "cut"], remove=[self.program, remove])


@pytest.fixture
def array(product: Product, vm: Guest) -> Array:
    return Array(product.folder / "array")


def test_each_run_lets_go_of_what_no_rule_keeps(product: Product, array: Array) -> None:
    array.configure(product)
    first, second = (product.run().run["id"] for _ in range(2))
    assert len(array.snapshots) == 2
    product.table("jobs.job.retention", keep_last=2)
    looked = product("prune", "--dry-run", "--json")
    assert (looked.code, [each["fate"] for each in looked.document]) == (0, ["kept", "kept"])
    third = product.run()
    assert third.code == 0
    assert array.snapshots == [f"quiesce-{second}", f"quiesce-{third.run['id']}"]
    shown = product("show", first, "--json").run
    assert [(step["action"], step["outcome"]) for step in shown["steps"]][-2:] == [
        ("remove", "intent"),
        ("remove", "done"),
    ]
    assert shown["targets"][0]["snapshot"] is None
    product.table("jobs.job.retention", keep_last=1)
    array.configure(product, remove="broken")
    broken = product("prune", "job")
    assert broken.code == 1
    assert f"NOT REMOVED quiesce-{second} of vm: {array.program} ended with status 3; it said: the array" in broken.err
    array.configure(product)
    pruned = product("prune")
    assert pruned.code == 0
    assert [line.split()[0:2] for line in pruned.out.splitlines() if line.startswith("snapshot")] == [
        ["snapshot", f"run={second}"],
        ["snapshot", f"run={third.run['id']}"],
    ]
    assert "fate=removed" in pruned.out
    assert 'fate=kept reasons="last,last good"' in pruned.out
    assert array.snapshots == [f"quiesce-{third.run['id']}"]


def test_the_daemon_prunes_after_each_run(product: Product, array: Array) -> None:
    array.configure(product, every="1s")
    product.table("jobs.job.retention", keep_last=1)
    serving = product.start("serve")
    wait_for(lambda: len(product.states()) >= 3, 60, "three runs", poll=0.2)
    serving.wait_said("fate='removed'")
    serving.send(signal.SIGTERM)
    assert serving.wait().code == 0
    product("prune")
    assert array.snapshots == [f"quiesce-{product.history()[0]['id']}"]


def test_external_snapshots_are_merged_back_after_each_run(product: Product, guest: Guest) -> None:
    base = [str(path) for path in guest.active_disks()]
    product.job("vm")
    first, second = (product.run().run["id"] for _ in range(2))
    listed = product("snapshots", "vm", "--json").document
    assert [each["run"] for each in listed] == [first, second]
    assert [place["path"] for place in listed[0]["places"]] == base
    assert [place["stands_on"] for place in listed[1]["places"]] == base
    product.table("jobs.job.retention", keep_last=1)
    third = product.run()
    assert third.code == 0
    assert "NOT REMOVED" not in third.err
    (left,) = product("snapshots", "--json").document
    assert (left["run"], [place["path"] for place in left["places"]]) == (third.run["id"], base)
    assert [path.name for path in guest.active_disks()] == [
        f"{Path(path).stem.split('.')[0]}.quiesce-{third.run['id']}.qcow2" for path in base
    ]
    merged = [step for step in product("show", first, "--json").run["steps"] if step["action"] == "merge"]
    assert [(step["outcome"], "disk" in step["figures"]) for step in merged] == [("intent", True), ("done", True)] * 2
    assert all(step["figures"]["percent"] == 100 for step in merged if step["outcome"] == "done")
    assert not guest.fs_frozen()


def test_what_a_kept_backup_stands_on_is_kept_and_each_is_told_to_after(product: Product, vm: Guest) -> None:
    sent = product.folder / "sent"
    script = product.folder / "send"
    script.write_text(f'#!/bin/sh\necho "$QUIESCE_STATE $QUIESCE_PATH" >>{sent}\n')
    script.chmod(0o755)
    repository = product.folder / "repository"
    keys = {"driver": "backup", "repository": str(repository), "quiesce": "required"}
    product.table("jobs.job", machines=["vm"], after=[str(script)], **keys)
    product.table("jobs.job.retention", keep_last=1)
    full, incremental = (product.run().run["id"] for _ in range(2))
    assert sent.read_text().splitlines() == [f"done {repository}/vm/{run}" for run in (full, incremental)]
    looked = product("prune", "--dry-run", "--json").document
    assert [(each["run"], each["reasons"]) for each in looked] == [
        (full, [f"parent of {incremental}"]),
        (incremental, ["last", "last good"]),
    ]
    product.table("jobs.job", machines=["vm"], full_every="1s", **keys)
    again = product.run().run["id"]
    assert [path.name for path in sorted((repository / "vm").glob("[!.]*"))] == [again]
    assert [each["run"] for each in product("prune", "--json").document] == [again]
