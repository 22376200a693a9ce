"""File systems of a test's own, in a file and mounted by a loop device."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: For each kind what makes it. The smallest that each of them takes is some 300 MB; the file is sparse.
_MAKERS = {
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "ext4": ["mkfs.ext4", "-q", "-F"],
}
_SIZE = 512 << 20


@contextmanager
def loop_mount(kind: str, folder: Path) -> Iterator[Path]:
    """Within the `with`, a new file system of that kind, mounted below `folder`."""
    image, place = folder / f"{kind}.image", folder / kind
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run([*_MAKERS[kind], str(image)], check=True, stdout=subprocess.DEVNULL)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    place.chmod(0o755)
    try:
        yield place
    finally:
        # Lazily: when a test has failed, somebody may still have a file open.
        subprocess.run(["umount", "--lazy", str(place)], check=True)
