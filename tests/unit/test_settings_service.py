"""Where the service listens: what may be configured, and what is refused."""

from pathlib import Path

import pytest

from orchestrator import settings
from orchestrator.errors import ConfigError
from orchestrator.model import TcpListener, Tls, UnixListener
from orchestrator.settings import Settings

TLS = {"certificate": "/etc/cert.pem", "key": "/etc/key.pem"}


def loaded(**service: object) -> Settings:
    return settings.from_document({"service": service}, Path("quiesce.toml"), ())


def test_it_listens_where_only_this_host_can_ask_unless_told_otherwise() -> None:
    assert loaded().listen == (UnixListener("/run/quiesce/api.sock"), TcpListener("127.0.0.1", 8420))
    assert loaded().tls is None
    assert loaded(listen=[]).listen == ()


def test_every_form_of_a_listener_arrives() -> None:
    found = loaded(listen=["[::1]:80", "unix:/run/a.sock", "192.0.2.1:1"], tls=TLS)
    assert found.listen == (TcpListener("::1", 80), UnixListener("/run/a.sock"), TcpListener("192.0.2.1", 1))
    assert found.tls == Tls(**TLS)
    assert [str(listener) for listener in found.listen] == ["[::1]:80", "unix:/run/a.sock", "192.0.2.1:1"]


@pytest.mark.parametrize("text", ["localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "unix:a", ":80", 80])
def test_what_is_no_listener_is_refused(text: object) -> None:
    with pytest.raises(ConfigError, match=r'service.listen\[0\] = .*: must be "unix:/absolute/path", or an address'):
        loaded(listen=[text])


@pytest.mark.parametrize("text", ["0.0.0.0:8420", "192.0.2.1:8420", "[::]:8420"])
def test_what_others_can_reach_needs_tls(text: str) -> None:
    with pytest.raises(ConfigError, match=r"service.listen\[1\] = .* needs \[service.tls\]"):
        loaded(listen=["127.0.0.1:8420", text])


def test_half_of_tls_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"service\.tls\.key: this key is needed"):
        loaded(tls={"certificate": "/etc/cert.pem"})
    with pytest.raises(ConfigError, match=r'service\.tls\.kee: unknown key; did you mean "key"'):
        loaded(tls={**TLS, "kee": ""})
