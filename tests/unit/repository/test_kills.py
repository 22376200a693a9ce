"""Killed, or without power, before any system call: what is visible is whole, and the next try succeeds."""

import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.model import Flaw
from orchestrator.repository import FolderRepository
from tests.backups import backup, publish, repository

_CHANGES = {"open", "os.rename", "os.mkdir", "os.chmod", "os.remove", "os.rmdir"}


class Moments:
    """Copies of a folder as a crash would leave it, before each system call of ours that changes it, and at the end.

    The contents of files that were not flushed are lost with the power.
    """

    def __init__(self, folder: Path, copies: Path, flush: pytest.MonkeyPatch) -> None:
        self._folder, self._copies = folder, copies
        self._flushed: set[tuple[int, int]] = set()
        self._recording = self._copying = False
        self._lock = threading.RLock()
        self.all: list[Path] = []
        self._fsync = os.fsync
        flush.setattr(os, "fsync", self._flush)
        sys.addaudithook(self._before)  # there is no way to take it back: it is silent when it does not record

    def of(self, work: Callable[[], object]) -> list[Path]:
        """Record the moments of some work."""
        self._flushed = {self._identity(path) for path in self._folder.rglob("*")}
        self._recording = True
        try:
            work()
        finally:
            self._recording = False
        self._copy()
        return self.all

    def _flush(self, opened: int) -> None:
        if self._recording:
            self._before("fsync", ())
            status = os.fstat(opened)
            self._flushed.add((status.st_dev, status.st_ino))
        self._fsync(opened)

    def _before(self, event: str, arguments: object) -> None:
        if self._recording and (event in _CHANGES or event == "fsync"):
            with self._lock:  # disks are flushed side by side
                if not self._copying:
                    self._copying = True
                    self._copy()
                    self._copying = False

    def _copy(self) -> None:
        copy = self._copies / str(len(self.all))
        shutil.copytree(self._folder, copy)
        for path in self._folder.rglob("*"):
            if path.is_file() and self._identity(path) not in self._flushed:
                (copy / path.relative_to(self._folder)).write_bytes(b"")
        self.all.append(copy)

    @staticmethod
    def _identity(path: Path) -> tuple[int, int]:
        status = path.stat()
        return status.st_dev, status.st_ino


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The folder of one host, with its repository and its memory."""
    folder = tmp_path / "host"
    folder.mkdir()
    return folder


@pytest.fixture
def moments(host: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Moments:
    return Moments(host, tmp_path / "moments", monkeypatch)


def visible(host: Path) -> list[str]:
    """The runs whose backups are visible; all of them are whole, and nothing but leftovers is beside them."""
    there = repository(host)
    # The memory of a folder that was copied is that of the original: what counts here is the mark.
    found = there.check()
    assert {each.flaw for each in found} <= {Flaw.LEFTOVER}
    return [each.run_id for each in there.backups("db1")]


def retried(host: Path, work: Callable[[FolderRepository], object]) -> list[str]:
    """The visible runs after the work was cleaned up after and done again."""
    there = repository(host)
    there.drop("db1", "run-3")
    work(there)
    assert there.check() == ()
    return visible(host)


def test_the_first_backup(host: Path, moments: Moments) -> None:
    seen = []
    for moment in moments.of(lambda: publish(repository(host), backup("run-3", disks=("vda", "vdb")))):
        seen.append(visible(moment))
        if not seen[-1]:
            assert retried(moment, lambda there: publish(there, backup("run-3"))) == ["run-3"]

    hidden = seen.index(["run-3"])
    assert hidden > 10
    assert seen == [[]] * hidden + [["run-3"]] * (len(seen) - hidden)


def test_a_further_backup(host: Path, moments: Moments) -> None:
    publish(repository(host), backup("run-1"))
    publish(repository(host), backup("run-2", parent="run-1", hours=1))
    third = backup("run-3", parent="run-2", hours=2)

    for moment in moments.of(lambda: publish(repository(host), third)):
        if visible(moment) == ["run-1", "run-2"]:
            assert retried(moment, lambda there: publish(there, third)) == ["run-1", "run-2", "run-3"]
        else:
            assert visible(moment) == ["run-1", "run-2", "run-3"]


def test_removing(host: Path, moments: Moments) -> None:
    publish(repository(host), backup("run-1"))
    publish(repository(host), backup("run-2", parent="run-1", hours=1))

    for moment in moments.of(lambda: repository(host).remove("db1", "run-2")):
        assert visible(moment) in (["run-1", "run-2"], ["run-1"])
        assert retried(moment, lambda there: there.remove("db1", "run-2")) == ["run-1"]


def test_everything_is_flushed_before_it_is_visible_and_its_name_after(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = repository(host)
    staged = there.stage("db1", "run-1")
    (staged / "vda.qcow2").write_bytes(b"data")
    flushed: list[tuple[str, bool]] = []

    def fsync(opened: int) -> None:
        path = Path(f"/proc/self/fd/{opened}").readlink()
        flushed.append((path.name, staged.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    there.flush("db1", "run-1")
    assert flushed == [("vda.qcow2", True)]
    flushed.clear()
    there.publish(backup())

    assert flushed == [("vda.qcow2", True), ("manifest.json", True), (staged.name, True), ("db1", False)]
