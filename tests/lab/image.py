"""The guests' initramfs: a static busybox, the real agent, the modules, and the lab's own small programs.

Built once per set of inputs and kept in the cache under the hash of those, so that a change of any input rebuilds. The
build happens aside and is renamed into place, under a lock: two processes may ask at the same time.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.kernel import Kernel, ensure_kernel, run_tool
from tests.lab.places import SOURCE, cache_root, locked
from tests.lab.waiting import LabError

GUEST = SOURCE / "guest"
SCRIPTS = ("agentctl",)
PROGRAMS = ("serve", "stallmeter", "writer", "frozen")
# Per list in the guest's /lab. XFS is large: only a guest that has such a disk takes the half second to load it.
# The power button is loaded by the test that presses it.
MODULES = {
    "modules": ("virtio_pci", "virtio_blk", "virtio_console", "loop"),
    "modules.xfs": ("xfs",),
    "modules.power": ("button", "evdev"),
}
HOST_PROGRAMS = ("/usr/sbin/qemu-ga", "/usr/sbin/fsfreeze", "/bin/dash", "/usr/bin/sqlite3")
BUSYBOX = Path("/usr/bin/busybox")
FOLDERS = ("bin", "sbin", "usr/bin", "usr/sbin", "etc/qemu", "lab", "proc", "sys", "dev", "run", "tmp", "root", "mnt")
OS_RELEASE = 'ID=quiesce-lab\nNAME="Quiesce lab guest"\nPRETTY_NAME="Quiesce lab guest"\nVERSION_ID=1\n'


@dataclass(frozen=True)
class Image:
    """What a guest boots from."""

    kernel: Path
    initrd: Path


def ensure_image() -> Image:
    """Return kernel and initramfs, built if nothing in the cache fits the inputs."""
    kernel = ensure_kernel()
    initrd = cache_root() / f"initrd-{_fingerprint(kernel)}.cpio"
    with locked("initrd"):
        if not initrd.exists():
            with tempfile.TemporaryDirectory(prefix="build-", dir=cache_root()) as aside:
                packed = _build(Path(aside), kernel)
                packed.rename(initrd)
    return Image(kernel.vmlinuz, initrd)


def _fingerprint(kernel: Kernel) -> str:
    """Return the hash of everything that goes into the initramfs."""
    sources = [Path(__file__), *sorted(GUEST.iterdir())]
    binaries = [BUSYBOX, *map(Path, HOST_PROGRAMS)]
    digest = hashlib.sha256(kernel.release.encode())
    for path in [*sources, *binaries]:
        if not path.exists():
            raise LabError(f"{path} is missing; the lab's packages are listed in its documentation")
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def libraries(program: Path) -> set[Path]:
    """Return the shared libraries that the host's loader names for a program."""
    return {Path(found) for found in re.findall(r"(/\S+\.so[.\d]*)", run_tool("ldd", str(program)))}


def _build(aside: Path, kernel: Kernel) -> Path:
    """Lay the tree out below `aside` and return the packed archive, which lies next to it."""
    root = aside / "root"
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    _add_busybox(root)
    _add_host_programs(root)
    _add_modules(root, kernel)
    for name in PROGRAMS:
        run_tool("gcc", "-static", "-O2", "-s", "-o", str(root / "lab" / name), str(GUEST / f"{name}.c"))
    for name in SCRIPTS:
        _put(GUEST / name, root / "lab" / name)
    _put(GUEST / "init", root / "init")
    (root / "etc/os-release").write_text(OS_RELEASE)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return _pack(root, aside / "initrd.cpio")


def _put(source: Path, target: Path, mode: int = 0o755) -> None:
    """Copy one file into the tree, with its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _add_busybox(root: Path) -> None:
    """Add busybox, and a link for each applet that the host does not lend a real program for."""
    _put(BUSYBOX, root / "bin/busybox")
    lent = {"sh", *(Path(program).name for program in HOST_PROGRAMS)}
    for applet in run_tool(str(BUSYBOX), "--list").split():
        if applet not in lent | {"busybox"}:
            (root / "bin" / applet).symlink_to("busybox")


def _add_host_programs(root: Path) -> None:
    """Add the agent and its like, with their libraries under the names that the loader looks for."""
    for program in map(Path, HOST_PROGRAMS):
        _put(program, root / program.relative_to("/"))
        for library in libraries(program):
            _put(library.resolve(), root / library.relative_to("/"))
    # Not busybox: its shell prefers its own applets, and its fsfreeze does not know `-f` and `-u`.
    (root / "bin/sh").symlink_to("dash")


def _add_modules(root: Path, kernel: Kernel) -> None:
    """Add the kernel modules, and the lists that say in which order to load them."""
    for name, wanted in MODULES.items():
        modules = kernel.modules(wanted)
        for module in modules:
            _put(module, root / "lab/modules.d" / module.name, 0o644)
        (root / "lab" / name).write_text("".join(f"/lab/modules.d/{module.name}\n" for module in modules))


def _pack(root: Path, archive: Path) -> Path:
    """Pack the tree. Not compressed: an emulated processor takes longer to unpack than the host takes to load."""
    names = "".join(f"{path.relative_to(root)}\n" for path in sorted(root.rglob("*")))
    with archive.open("wb") as out:
        command = ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"]
        subprocess.run(command, cwd=root, input=names.encode(), stdout=out, check=True)
    archive.chmod(0o644)
    return archive
