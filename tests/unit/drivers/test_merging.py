"""Whatever is let go, in whatever order, broken off wherever: all other points in time read the same."""

import json
import subprocess
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.clock import Deadline
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.drivers.merging import merge
from orchestrator.errors import CallError, Rejected
from orchestrator.model import Machine, Power
from orchestrator.ports import DriverContext
from tests.fakes.clock import SteppedClock
from tests.fakes.merges import DISKS, Blocks, Layers, MemoryMerges, machine, made, overlay

CLOCK = SteppedClock()


def soon() -> Deadline:
    return Deadline.after(CLOCK, 3600)


def driver(merges: MemoryMerges, power: Power = Power.RUNNING, *, local: bool = False) -> ExternalSnapshot:
    layers = Layers(merges, power, local=local)
    return ExternalSnapshot(DriverContext(Machine("vm"), "nightly", "r", {}, layers, CLOCK))


def points(merges: MemoryMerges, turns: set[int]) -> dict[tuple[str, int], Blocks]:
    """What each of these cuts' points in time holds: all that lies below its overlay."""
    found = {}
    for disk in DISKS:
        files = [*merges.layers[disk]]
        for turn in turns:
            found[disk, turn] = merges.content(disk, files[files.index(overlay(disk, turn)) + 1])
    return found


blocks = st.dictionaries(st.integers(0, 5), st.integers(0, 99), max_size=4)


@given(
    st.lists(blocks, min_size=2, max_size=5),
    st.randoms(use_true_random=False),
    st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=6),
)
def test_all_other_points_in_time_stay_what_they_are(
    contents: list[Blocks], chance: Random, ends: list[tuple[int, bool]]
) -> None:
    """`ends` are removals that end after so many looks, by a kill or by being closed."""
    merges = machine(contents)
    order = list(range(1, len(contents)))
    chance.shuffle(order)
    seen = {disk: merges.content(disk, next(iter(merges.layers[disk]))) for disk in DISKS}
    before = points(merges, set(order))
    while order:
        begun = {disk for disk, (merged, _) in merges.jobs.items() if merged == overlay(disk, order[0])}
        looks, killed = ends.pop() if ends else (1000, False)
        removal = driver(merges).remove(made(order[0]), begun, soon())
        ended = len(list(islice(removal, looks))) < looks
        jobs = dict(merges.jobs)
        removal.close()
        merges.jobs = jobs if killed else merges.jobs  # who is killed closes nothing
        if ended:
            del order[0]
        left = {key: point for key, point in before.items() if key[1] in order[0 if ended else 1 :]}
        assert points(merges, {turn for _, turn in left}) == left
        assert {disk: merges.content(disk, next(iter(merges.layers[disk]))) for disk in DISKS} == seen
    assert [len(files) for files in merges.layers.values()] == [1, 1]


def test_one_that_another_hand_cancels_is_told_and_begun_anew_by_the_next() -> None:
    merges = machine([{0: 1}, {0: 2, 1: 2}])
    with closing(merge(merges, "vda", overlay("vda", 1), soon(), attach=False)) as merging:
        next(merging)
        next(merging)
        merges.jobs.clear()
        with pytest.raises(Rejected, match="was cancelled, or failed: it is begun anew by the next pruning"):
            list(merging)
    assert list(merge(merges, "vda", overlay("vda", 1), soon(), attach=True))[-1].ended
    assert merges.layers["vda"] == {"/images/vda.raw": {0: 2, 1: 2}}


def test_another_s_job_is_not_taken_for_ours_and_not_cancelled() -> None:
    merges = machine([{0: 1}, {0: 2}, {0: 3}])
    merges.begin("vda", overlay("vda", 2), overlay("vda", 1), soon())
    with pytest.raises(Rejected, match="already in an active block job"):
        list(driver(merges).remove(made(1), (), soon()))
    assert merges.jobs["vda"][0] == overlay("vda", 2)


def test_a_disk_that_is_gone_is_not_taken_for_merged() -> None:
    merges = machine([{0: 1}, {0: 2}])
    with closing(merge(merges, "vda", overlay("vda", 1), soon(), attach=False)) as merging:
        next(merging)
        del merges.layers["vda"]
        with pytest.raises(Rejected, match="the disk vda is gone"):
            list(merging)


def files(folder: Path, content: bytes) -> dict[str, Any]:
    """A cut whose overlays are files on this host."""
    paths = [folder / f"{disk}.quiesce-1.qcow2" for disk in DISKS]
    for path in paths:
        path.write_bytes(content)
    return {"name": "quiesce-1", "disks": [{"name": d, "overlay": str(p)} for d, p in zip(DISKS, paths, strict=True)]}


@pytest.mark.parametrize("begun", [(), DISKS], ids=["anew", "gone on with"])
def test_the_files_of_a_machine_that_is_off_stay_though_it_names_the_top_of_its_chains_only(
    tmp_path: Path, begun: Sequence[str]
) -> None:
    made = files(tmp_path, b"")
    merges = MemoryMerges({disk: {overlay(disk, 2): {}} for disk in DISKS})
    with pytest.raises(Rejected, match="the machine is off: its overlays are merged when it runs"):
        list(driver(merges, Power.OFF, local=True).remove(made, begun, soon()))
    assert all(Path(disk["overlay"]).exists() for disk in made["disks"])


def test_a_merge_whose_end_nobody_saw_is_no_leave_to_remove_what_a_guest_wrote(tmp_path: Path) -> None:
    made = files(tmp_path, b"what a guest has written")
    with pytest.raises(CallError):
        list(driver(machine([{0: 1}]), local=True).remove(made, DISKS, soon()))
    assert [Path(disk["overlay"]).exists() for disk in made["disks"]] == [True, True]


def test_that_one_disk_was_merged_says_nothing_of_another(tmp_path: Path) -> None:
    made = files(tmp_path, b"")
    below = [Path(disk["overlay"]).with_suffix(".below") for disk in made["disks"]]
    for disk, under in zip(made["disks"], below, strict=True):
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", str(under), "-F", "raw", disk["overlay"], "1M"]
        subprocess.run(create, check=True)
        alone = {"driver": "qcow2", "backing": None, "file": {"driver": "file", "filename": disk["overlay"]}}
        subprocess.run(["qemu-io", "-c", "write 0 64k", f"json:{json.dumps(alone)}"], check=True, capture_output=True)
    merges = MemoryMerges(
        {disk: {overlay(disk, 2): {}, str(under): {}} for disk, under in zip(DISKS, below, strict=True)}
    )
    with pytest.raises(Rejected, match=r"vdb.quiesce-1.qcow2, and it is not known to be merged"):
        list(driver(merges, local=True).remove(made, ["vda"], soon()))
    assert [Path(disk["overlay"]).exists() for disk in made["disks"]] == [False, True]


def test_an_overlay_on_nothing_is_not_merged() -> None:
    merges = MemoryMerges({"vda": {overlay("vda", 1): {0: 1}}})
    with pytest.raises(CallError, match="stands on nothing"):
        list(merge(merges, "vda", overlay("vda", 1), soon(), attach=False))


def test_what_carries_another_name_is_not_touched(tmp_path: Path) -> None:
    merges = machine([{0: 1}, {0: 2}])
    with pytest.raises(Rejected, match="does not carry our name: nothing was removed"):
        list(driver(merges).remove({**made(1), "name": "theirs"}, (), soon()))
    assert len(merges.layers["vda"]) == 2
