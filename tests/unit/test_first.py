"""The first configuration: whatever the domains are called, it can be loaded and names each of them."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ConfigError
from orchestrator.scheduler.supervisor import READY, tell
from orchestrator.settings import first, load

#: What libvirt takes for a name: anything printable without a slash.
NAMES = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=80)


@given(domains=st.lists(NAMES, unique=True, max_size=8))
def test_it_is_a_configuration_of_all_domains(tmp_path_factory: pytest.TempPathFactory, domains: list[str]) -> None:
    path = tmp_path_factory.mktemp("first") / "quiesce.toml"
    first.write(path, "qemu:///system", domains)
    settings = load(path, ["external-snapshot"])
    assert sorted(machine.domain or "" for machine in settings.machines.values()) == sorted(domains)
    assert {job.machines for job in settings.jobs.values()} == ({tuple(settings.machines)} if domains else set())
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "quiesce.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        first.write(path, "qemu:///system", ["db1"])
    with pytest.raises(ConfigError, match="Not a directory"):
        first.write(path / "below" / "quiesce.toml", "qemu:///system", ["db1"])
    assert path.read_text() == "mine"


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"quiesce-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(30)
        listener.bind("\0" + name if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name if abstract else name)
        tell(READY)
        assert listener.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "/nowhere/notify"])
def test_where_nobody_listens_nobody_is_told(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    tell(READY)
