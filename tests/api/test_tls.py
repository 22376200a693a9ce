"""TLS for who comes over the network; and a certificate that cannot be used."""

import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from orchestrator.errors import ConfigError
from orchestrator.model import TcpListener, Tls, UnixListener
from orchestrator.web import listening, serving

SITE = PlainTextResponse("here")


def test_the_network_is_served_by_tls_and_this_host_without(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout {key} -out {certificate}"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run(["openssl", *words.split(), *subject], check=True, capture_output=True)
    path = str(tmp_path / "api.sock")
    with listening([UnixListener(path), TcpListener("127.0.0.1", 0)]) as sockets:
        port = sockets[1].getsockname()[1]
        with serving(SITE, sockets, Tls(str(certificate), str(key))):
            trusting = ssl.create_default_context(cafile=certificate)
            assert httpx.get(f"https://127.0.0.1:{port}/", verify=trusting).text == "here"
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(f"http://127.0.0.1:{port}/")
            with httpx.Client(transport=httpx.HTTPTransport(uds=path)) as client:
                assert client.get("http://localhost/").text == "here"


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    for name in ("cert.pem", "nowhere.pem"):
        tls = Tls(str(tmp_path / name), str(tmp_path / "cert.pem"))
        with (
            listening([TcpListener("127.0.0.1", 0)]) as sockets,
            pytest.raises(ConfigError, match=f"service.tls.*{name}"),
        ):
            serving(SITE, sockets, tls).__enter__()
