"""The sockets of the service: who may connect, and what is said when one cannot be had."""

import socket
from pathlib import Path

import pytest

from orchestrator.errors import ConfigError
from orchestrator.model import TcpListener, UnixListener
from orchestrator.web import listening


def test_a_unix_socket_is_for_its_owner_and_group_and_goes_with_the_service(tmp_path: Path) -> None:
    path = tmp_path / "new" / "api.sock"
    with listening([UnixListener(str(path))]), socket.socket(socket.AF_UNIX) as client:
        assert path.stat().st_mode & 0o777 == 0o660
        client.connect(str(path))
    assert not path.exists()


def test_what_a_dead_service_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with listening([UnixListener(str(path))]), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_socket_on_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    listener = UnixListener(str(tmp_path / "api.sock"))
    with listening([listener]):
        with pytest.raises(ConfigError, match=f"{listener} cannot be had: another program listens there"):
            listening([listener]).__enter__()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(listener.path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="no socket"):
        listening([UnixListener(str(path))]).__enter__()
    assert path.read_text() == "mine"


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        first = UnixListener(str(tmp_path / "api.sock"))
        with pytest.raises(ConfigError, match=rf"service.listen: 127\.0\.0\.1:{port} cannot be had: "):
            listening([first, TcpListener("127.0.0.1", port)]).__enter__()
    assert not Path(first.path).exists()
