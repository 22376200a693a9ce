"""The guests' kernel: the distribution's cloud kernel, downloaded and unpacked, never installed."""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.lab.places import cache_root, locked
from tests.lab.waiting import LabError

META_PACKAGE = "linux-image-cloud-amd64"


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel package."""

    root: Path

    @property
    def release(self) -> str:
        """Return its release, as `uname -r` gives it."""
        return next((self.root / "lib/modules").iterdir()).name

    @property
    def vmlinuz(self) -> Path:
        """Return the bootable file."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    def modules(self, wanted: tuple[str, ...]) -> list[Path]:
        """Return the files of the wanted modules, each one after what it needs; built-in ones are left out."""
        folder = self.root / "lib/modules" / self.release
        needs: dict[str, list[str]] = {}
        for line in (folder / "modules.dep").read_text().splitlines():
            path, _, others = line.partition(":")
            needs[path] = others.split()
        by_name = {Path(path).name.split(".")[0]: path for path in needs}
        ordered: dict[str, None] = {}
        for name in wanted:
            if name in by_name:
                path = by_name[name]
                # depmod lists the needs of a module in the reverse of the order of loading.
                ordered.update(dict.fromkeys([*reversed(needs[path]), path]))
        return [folder / path for path in ordered]


def run_tool(*command: str, cwd: Path | None = None) -> str:
    """Run a host tool and return its output; LabError with what it said when it fails or is missing."""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise LabError(f"{command[0]} is not installed") from missing
    if done.returncode != 0:
        raise LabError(f"{' '.join(command)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _package() -> str:
    """Return the package behind the meta package."""
    for line in run_tool("apt-cache", "depends", META_PACKAGE).splitlines():
        kind, _, name = line.strip().partition(": ")
        if kind == "Depends" and name.startswith("linux-image-"):
            return name
    raise LabError(f"{META_PACKAGE} names no kernel; run `apt-get update`")


def _unpack(aside: Path) -> None:
    """Fill a folder with the current kernel: download, unpack, order the modules, drop what no guest loads."""
    run_tool("apt-get", "download", _package(), cwd=aside)
    package = next(aside.glob("*.deb"))
    run_tool("dpkg", "-x", str(package), str(aside))
    package.unlink()
    run_tool("depmod", "-b", str(aside), Kernel(aside).release)
    shutil.rmtree(aside / "usr", ignore_errors=True)


def ensure_kernel() -> Kernel:
    """Return the cached kernel, fetched on first use. It is kept for as long as the cache is."""
    root = cache_root() / "kernel"
    with locked("kernel"):
        if not root.exists():
            aside = Path(tempfile.mkdtemp(prefix="kernel-", dir=cache_root()))
            try:
                aside.chmod(0o755)
                _unpack(aside)
                aside.rename(root)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return Kernel(root)
