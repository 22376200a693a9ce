"""No room for a backup, or for what comes back of one: a clear error, nothing left behind, nothing harmed."""

import os
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import Rejected, RepositoryError
from orchestrator.images import QemuImages
from orchestrator.model import ImageFormat
from orchestrator.repository import FolderRepository
from tests.acceptance.tmpfs import Tmpfs
from tests.backups import backup, publish, publish_images, repository

FULL = os.strerror(28)


def test_no_room_to_publish(tmp_path: Path) -> None:
    with Tmpfs(tmp_path / "repository", 1) as small:
        here = FolderRepository(small.path, tmp_path / "state")
        earlier = publish(here, backup("run-1"))
        staged = here.stage("db1", "run-2")
        (staged / "vda.qcow2").write_bytes(b"data")
        small.fill()

        with pytest.raises(RepositoryError, match=FULL):
            here.publish(backup("run-2", hours=1))
        assert here.backups("db1") == (earlier,)
        here.remove("db1", "run-1")  # what is full can be pruned

        small.free()
        assert here.publish(backup("run-2", hours=1)).run_id == "run-2"
        assert here.check() == ()


def test_no_room_to_restore(tmp_path: Path) -> None:
    here = repository(tmp_path)
    saved = publish_images(here, backup(), "write -P 1 0 1M")
    with Tmpfs(tmp_path / "small", 1) as small:
        small.fill()

        with pytest.raises(Rejected, match=FULL):
            QemuImages(SystemClock()).flatten({small.path / "vda": [here.folder(saved) / "vda.qcow2"]}, ImageFormat.RAW)

        assert [path.name for path in small.path.iterdir()] == ["filler"]
