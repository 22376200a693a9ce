"""Drivers are found by entry points, and a wrong one is an error of the configuration."""

import sys
from pathlib import Path

import pytest

from orchestrator import drivers
from orchestrator.drivers.command import Command
from orchestrator.drivers.external_snapshot import ExternalSnapshot
from orchestrator.errors import ConfigError


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a distribution's metadata is found."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def plug_in(folder: Path, distribution: str, entry: str, source: str = "") -> None:
    metadata = folder / f"{distribution}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[quiesce.drivers]\n{entry}\n")
    (folder / f"{distribution}.py").write_text(source)


def test_our_own_are_found_like_any_other() -> None:
    assert {"command", "external-snapshot"} <= set(drivers.known())
    assert drivers.find("command") is Command
    assert drivers.find("external-snapshot") is ExternalSnapshot


def test_an_unknown_one_is_told_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"there is no driver 'zfs'; installed are .*command.*external-snapshot"):
        drivers.find("zfs")


def test_a_plugin_is_loaded_only_when_it_is_asked_for(install: Path) -> None:
    plug_in(install, "zfs_driver", "zfs = zfs_driver:Zfs", "class Zfs: pass")
    assert "zfs" in drivers.known()
    drivers.find("command")
    assert "zfs_driver" not in sys.modules
    assert drivers.find("zfs").__name__ == "Zfs"


@pytest.mark.parametrize("source", ["import no_such_module", "raise SystemError('no license')", "Zfs = 1; del Zfs"])
def test_a_plugin_that_does_not_load_is_an_error_of_the_configuration(install: Path, source: str) -> None:
    name = f"broken{abs(hash(source))}"
    plug_in(install, name, f"zfs = {name}:Zfs", source)
    with pytest.raises(ConfigError, match=f"the driver 'zfs' cannot be loaded from {name}:Zfs: "):
        drivers.find("zfs")


def test_two_of_one_name_are_not_chosen_from(install: Path) -> None:
    plug_in(install, "one_driver", "command = one_driver:Command")
    with pytest.raises(ConfigError, match="'command' is installed more than once: one_driver:Command, orchestrator"):
        drivers.find("command")
