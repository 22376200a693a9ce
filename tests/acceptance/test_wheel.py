"""The built wheel works away from its checkout: it carries the migrations and names its drivers."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.product import Product
from tests.fakes.agent import FakeAgent

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "orchestrator", "migrations")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment that has the wheel, and not the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, source)

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    shutil.rmtree(source)
    # The libraries are those of our own environment; what is installed there to be edited is not seen by this path.
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    found = Path(run(python, "-c", "import orchestrator; print(orchestrator.__file__)").strip())
    assert found.is_relative_to(site)
    return python.with_name("quiesce")


@pytest.fixture
def product(installed: Path, tmp_path: Path) -> Iterator[Product]:
    product = Product(tmp_path, installed)
    yield product
    product.close()


def test_a_journal_is_made_and_a_job_run(product: Product, tmp_path: Path) -> None:
    with FakeAgent(tmp_path / "qga.sock") as guest:
        product.table("machines.vm", agent=f"unix:{guest.path}")
        product.job("vm", cut=["/bin/true"])
        upgraded = product("db", "upgrade", "--json")
        assert (upgraded.code, upgraded.document["from"]) == (0, None)
        ended = product.run()
        assert (ended.code, ended.run["state"], ended.run["consistency"]) == (0, "done", "filesystem")
        assert guest.frozen == set()
        assert product.states() == ["done"]


def test_all_drivers_of_the_project_are_named(product: Product) -> None:
    product.table("machines.vm", agent="unix:/nowhere")
    product.job("vm", cut=["/bin/true"], driver="tape")
    ended = product("jobs")
    assert ended.code == 2
    assert "known are: backup, btrfs, command, external-snapshot, libvirt-quiesce, reflink" in ended.err


def test_the_wheel_holds_the_package_and_nothing_else(installed: Path) -> None:
    (wheel,) = installed.parents[2].glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    migrations = {f"orchestrator/{path.relative_to(CHECKOUT)}" for path in (CHECKOUT / "migrations").rglob("*.py")}
    assert len(migrations) > 1
    assert migrations <= names
    (other,) = {name.split("/")[0] for name in names} - {"orchestrator"}
    assert other.endswith(".dist-info")
