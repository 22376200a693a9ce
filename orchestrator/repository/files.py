"""What a repository does to files: flush, sum, and read them, never through a symbolic link."""

import errno
import hashlib
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

#: For folders that QEMU, which runs as another user, must pass through to the file that it writes. It lists nothing.
PASSABLE = 0o711
#: For what guests have on their disks.
PRIVATE = 0o700


def make_folder(path: Path) -> None:
    """Make a folder for good, passable whatever the umask says. Raises FileExistsError."""
    path.mkdir()
    path.chmod(PASSABLE)
    flush(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, for good. It need not be there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)
        flush(path.parent)


def write(path: Path, content: bytes, *, again: bool = False) -> None:
    """Write a file for good, but for its name. Raises FileExistsError when it is there, unless `again`."""
    exclusive = 0 if again else os.O_EXCL
    opened = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | exclusive, 0o600)
    with os.fdopen(opened, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(opened)


def flush(path: Path) -> None:
    """Make a file's contents, or the names in a folder, survive a loss of power."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read(path: Path, limit: int) -> bytes:
    """The contents of a regular file of at most `limit` bytes. Raises OSError, also when it is larger."""
    with os.fdopen(_open(path), "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def size_and_sum(path: Path) -> tuple[int, str]:
    """The length of a regular file, and its SHA-256 in hexadecimal digits. Raises OSError."""
    with os.fdopen(_open(path), "rb", buffering=0) as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def _open(path: Path) -> int:
    """Open a file to read it. What is no regular file, such as a pipe, would be waited for, or never end."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(0, "not a regular file", str(path))
    return opened
