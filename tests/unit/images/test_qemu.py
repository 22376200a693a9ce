"""What the real qemu-img does for us, and what is told when it fails."""

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator.clock import SystemClock
from orchestrator.errors import Rejected
from orchestrator.images import QemuImages
from orchestrator.model import ImageFormat

IMAGES = QemuImages(SystemClock())


def image(path: Path, *writes: str) -> Path:
    """A qcow2 file of 1 MiB that holds those writes of qemu-io."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True)
    for write in writes:
        subprocess.run(["qemu-io", "-c", write, path], check=True, stdout=subprocess.DEVNULL)
    return path


def test_a_backing_file_that_an_image_names_is_not_opened(tmp_path: Path) -> None:
    secret = image(tmp_path / "secret", "write -P 7 0 1M")
    top = tmp_path / "top"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "qcow2", top], check=True)

    IMAGES.flatten({tmp_path / "out": [top]}, ImageFormat.RAW)

    assert not any((tmp_path / "out").read_bytes())


@pytest.mark.parametrize("name", ['a "quoted" name', "with:colon", "with,comma", "json:{}", "ж"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    source = image(tmp_path / "image", "write -P 7 0 1M").rename(tmp_path / name)

    IMAGES.flatten({tmp_path / f"{name}.raw": [source]}, ImageFormat.RAW)

    assert (tmp_path / f"{name}.raw").read_bytes() == b"\7" * (1 << 20)


def test_nothing_is_written_through_a_link_and_nobody_s_file_removed(tmp_path: Path) -> None:
    """Whoever may write to the folder could have us overwrite any file."""
    theirs = tmp_path / "theirs"
    theirs.write_text("precious")
    (tmp_path / ".out.partial").symlink_to(theirs)

    with pytest.raises(Rejected, match=r"\.out\.partial is there already"):
        IMAGES.flatten({tmp_path / "out": [tmp_path / "image"]}, ImageFormat.RAW)
    assert theirs.read_text() == "precious"
    assert (tmp_path / ".out.partial").is_symlink()


def test_what_is_no_image_is_told_by_its_name(tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"no image")

    with pytest.raises(Rejected, match=rf"cannot write {tmp_path}/.out.partial: .*{bad}.*Image is not in qcow2 format"):
        IMAGES.flatten({tmp_path / "out": [bad]}, ImageFormat.RAW)
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


def test_a_whole_image_has_no_problems_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    whole = image(tmp_path / "image", "write -P 7 0 1M")
    assert IMAGES.problems(whole) == ()

    with whole.open("r+b") as file:  # its first table of reference counts (docs/interop/qcow2 in QEMU)
        file.seek(64 * 1024)
        file.write(bytes(64 * 1024))
    [problem] = IMAGES.problems(whole)

    assert problem.startswith(f"{whole}: qemu-img check ended with ")
    assert len(problem) < 1000


def test_leaked_clusters_are_no_problem(tmp_path: Path) -> None:
    whole = image(tmp_path / "image", "write -P 7 0 1M")
    os.truncate(whole, whole.stat().st_size + 64 * 1024)

    assert IMAGES.problems(whole) == ()


def qemu_io(socket: Path, *commands: str) -> str:
    """Carry commands of qemu-io out at an NBD server."""
    words = [word for command in commands for word in ("-c", command)]
    asked = ["qemu-io", "-f", "raw", *words, f"nbd+unix:///?socket={socket}"]
    return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60).stdout


def test_what_is_written_to_a_served_chain_is_thrown_away(tmp_path: Path) -> None:
    full, changes = image(tmp_path / "full", "write -P 1 0 1M"), image(tmp_path / "changes", "write -P 2 0 64k")
    before = [full.read_bytes(), changes.read_bytes()]

    with IMAGES.serving({"vda": [full, changes], "vdb": [full]}) as sockets:
        said = qemu_io(sockets["vda"], "read -P 2 0 64k", "read -P 1 64k 64k", "write -P 3 0 128k", "read -P 3 0 128k")
        said += qemu_io(sockets["vdb"], "read -P 1 0 1M")
        assert "verification failed" not in said

    assert [full.read_bytes(), changes.read_bytes()] == before
    assert not any(socket.parent.exists() for socket in sockets.values())


def test_a_chain_that_cannot_be_served_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no image")

    with (
        pytest.raises(Rejected, match=r"qemu-nbd did not start: .*Image is not in qcow2 format"),
        IMAGES.serving({"vda": [tmp_path / "bad"]}),
    ):
        pytest.fail("it is served")
