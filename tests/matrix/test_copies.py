"""The crash matrix on a real guest, beyond the cut: copying and publishing, removing and merging."""

from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet

from tests.acceptance.product import target
from tests.lab import BareGuest
from tests.matrix.guests import Trial, trial

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real

#: Where a backup is ended, and whether it is there afterwards.
COPYING = {
    "after backup.cut": False,
    "after backup.copied": False,
    "before backup.publish": False,
    "after backup.publish": True,
}
#: Where a pruning is ended.
MERGING = ["before merges.begin", "after merges.begin", "after merges.progress", "before merges.close"]
ALWAYS = {"after backup.publish", "after merges.begin"}


def some(boundaries: Iterable[str]) -> list[ParameterSet]:
    """All of them with `make soak`, those of `ALWAYS` with every change."""
    return [pytest.param(each, marks=[] if each in ALWAYS else pytest.mark.soak) for each in boundaries]


def traces(guest: BareGuest) -> tuple[set[str], set[str]]:
    """The jobs and the bitmaps that QEMU has."""
    nodes = guest.monitor("query-named-block-nodes", {"flat": True})
    bitmaps = {bitmap["name"] for node in nodes for bitmap in node.get("dirty-bitmaps", [])}
    return {job["device"] for job in guest.monitor("query-block-jobs")}, bitmaps


@pytest.mark.parametrize("boundary", some(COPYING))
def test_a_backup_is_ended(bare_guest: BareGuest, boundary: str) -> None:
    with trial(bare_guest) as made:
        repository = made.product.folder / "repository"
        made.product.job("vm", driver="backup", repository=str(repository), hold_limit="30s")
        before = traces(bare_guest)[1]
        assert made.command("run", "job", "--json", end=boundary).killed
        made.recover()

        (run,) = made.command("history", "--json").ended.document
        published = COPYING[boundary]
        assert (run["state"], run["consistency"]) == ("recovered", "filesystem" if published else "none")
        assert (target(run)["snapshot"] is not None) == published
        noted = {f"quiesce-{run['id']}"} if published else set()
        assert traces(bare_guest) == (set(), before | noted)
        assert [path.name for path in repository.glob("vm/*")] == ([run["id"]] if published else [])
        assert not bare_guest.fs_frozen()
        after(made, [run["id"]] if published else [])


def after(made: Trial, earlier: list[str]) -> None:
    """The next backup stands on what there is, and the repository is whole."""
    again = made.command("run", "job", "--json").ended
    assert again.code == 0, again.err
    assert target(again.run)["snapshot"]["parent"] == (earlier[-1] if earlier else None)
    assert made.command("repo", "check").ended.code == 0


@pytest.mark.parametrize("boundary", some(MERGING))
def test_a_pruning_is_ended(bare_guest: BareGuest, boundary: str) -> None:
    with trial(bare_guest) as made:
        bare_guest.shell("dd if=/dev/urandom of=/data/kept bs=64k count=16 conv=fsync 2>/dev/null")
        kept = bare_guest.shell("md5sum /data/kept")
        base = bare_guest.active_disks()
        first, second = (made.command("run", "job", "--json").ended.run["id"] for _ in range(2))
        made.product.table("jobs.job.retention", keep_last=1)
        assert made.command("prune", "job", end=boundary).killed
        pruned = made.command("prune", "job", "--json").ended
        assert pruned.code == 0, pruned.err

        (left,) = made.command("snapshots", "--json").ended.document
        assert (left["run"], [place["path"] for place in left["places"]]) == (second, [*map(str, base)])
        assert all(second in path.name for path in bare_guest.active_disks())
        assert not list(base[0].parent.glob(f"*{first}*"))
        assert traces(bare_guest)[0] == set()
        bare_guest.shell("echo 3 >/proc/sys/vm/drop_caches")
        assert bare_guest.shell("md5sum /data/kept") == kept
        bare_guest.shell("rm /data/kept")
