"""The README keeps its word: its configurations load, and its commands print what it shows, on real guests."""

import re
import shlex
from pathlib import Path

import pytest

from orchestrator import drivers
from orchestrator.settings import load
from tests.acceptance.product import Product
from tests.lab import BareGuest, LibvirtGuest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
CONFIGURATIONS = [text for kind, text in BLOCKS if kind == "toml"]
CONSOLES = [text for kind, text in BLOCKS if kind == "console"]

#: What differs between two runs of the same command.
_VARYING = (
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}"), "RUN"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"(?<=_ms=)[\d.]+"), "N"),
    (re.compile(r"(agent|agent_version)=\S+"), r"\1=VERSION"),
)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_configuration_of_the_readme_loads(configuration: str, tmp_path: Path) -> None:
    path = tmp_path / "quiesce.toml"
    path.write_text(configuration)
    assert load(path, drivers.known()).jobs


@pytest.mark.real
def test_the_commands_of_the_readme_print_what_it_shows(
    product: Product, bare_guest: BareGuest, libvirt_guest: LibvirtGuest
) -> None:
    product.machine("db1", libvirt_guest)
    product.machine("edge1", bare_guest)
    product.job("db1", "edge1", name="nightly")
    for console in CONSOLES:
        command, _, shown = console.partition("\n")
        ended = product(*shlex.split(command.removeprefix("$ quiesce ")))
        assert ended.code == 0, ended.err
        assert timeless(ended.out) == timeless(shown)


def timeless(text: str) -> list[str]:
    """The lines without what differs each time. The guest lists its file systems in an order of its own, and may have
    booted so lately that `check` finds that a hazard.
    """
    for varying, name in _VARYING:
        text = varying.sub(name, text)
    return sorted(line for line in text.splitlines() if not line.startswith("hazard"))
