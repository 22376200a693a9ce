"""The unix socket: connecting, half-sent data, and messages that name the path."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.agent.unix import UnixTransport
from orchestrator.errors import OutcomeUnknown, Unreachable
from tests.fakes.deadlines import later, soon


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket that accepts nobody by itself."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(tmp_path / "qga.sock"))
        listener.listen(0)
        yield listener


@pytest.fixture
def transport(tmp_path: Path) -> Iterator[UnixTransport]:
    """A transport to that socket."""
    transport = UnixTransport(str(tmp_path / "qga.sock"))
    yield transport
    transport.close()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who may do nothing; root may do everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_missing_socket_is_named(transport: UnixTransport, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=f"{tmp_path}/qga.sock: there is no such socket"):
        transport.connect(later())


def test_a_file_that_is_no_socket_is_named(transport: UnixTransport, tmp_path: Path) -> None:
    (tmp_path / "qga.sock").touch()
    with pytest.raises(Unreachable, match=f"{tmp_path}/qga.sock: this is no socket"):
        transport.connect(later())


def test_a_socket_that_nobody_listens_on_is_named(
    transport: UnixTransport, listener: socket.socket, tmp_path: Path
) -> None:
    listener.close()
    with pytest.raises(Unreachable, match=f"{tmp_path}/qga.sock: nothing listens"):
        transport.connect(later())


def test_a_socket_that_we_may_not_use_is_named(transport: UnixTransport, tmp_path: Path) -> None:
    (tmp_path / "qga.sock").touch(mode=0)
    with as_nobody(), pytest.raises(Unreachable, match=f"{tmp_path}/qga.sock: permission denied"):
        transport.connect(later())


@pytest.mark.parametrize("path", ["x" * 200, "\ud800"])
def test_a_path_that_is_none_is_an_error_like_any_other(path: str) -> None:
    with pytest.raises(Unreachable, match="cannot connect"):
        UnixTransport(path).connect(later())


def test_a_full_queue_is_waited_for_until_the_deadline(transport: UnixTransport, listener: socket.socket) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as waiting:
        waiting.connect(listener.getsockname())
        deadline = soon()
        with pytest.raises(Unreachable, match="its queue is full"):
            transport.connect(deadline)
        assert deadline.passed


def test_connecting_says_whether_the_connection_is_new(transport: UnixTransport, listener: socket.socket) -> None:
    assert transport.connect(later())
    assert not transport.connect(later())
    transport.close()
    listener.accept()[0].close()
    assert transport.connect(later())


def test_what_was_sent_in_part_may_have_had_effect(transport: UnixTransport, listener: socket.socket) -> None:
    transport.connect(later())
    with pytest.raises(OutcomeUnknown, match="in time"):
        transport.send(b"x" * 10_000_000, soon())


def test_what_could_not_be_sent_at_all_had_none(transport: UnixTransport, listener: socket.socket) -> None:
    transport.connect(later())
    listener.accept()[0].close()
    with pytest.raises(Unreachable, match="closed the connection"):
        transport.send(b"x", later())
    with pytest.raises(Unreachable):
        transport.send(b"x", later())
    assert transport.connect(later())


def test_the_end_of_the_stream_is_noticed_before_anything_is_sent(
    transport: UnixTransport, listener: socket.socket
) -> None:
    transport.connect(later())
    served = listener.accept()[0]
    assert transport.arrived() == b""
    served.sendall(b"stale")
    assert transport.arrived() == b"stale"
    served.close()
    assert transport.arrived() == b""
    assert transport.connect(later())


def test_receiving_without_a_connection_is_unknown(transport: UnixTransport) -> None:
    with pytest.raises(OutcomeUnknown):
        transport.receive(later())
