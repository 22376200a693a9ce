"""The API of a service over a real guest: by a port and by the unix socket, and by the command on another host."""

import json
import signal
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.acceptance.gate import Gate
from tests.acceptance.product import Product, Running
from tests.lab import PATIENCE, Guest, wait_for

pytest_plugins = ["tests.lab.fixtures"]
pytestmark = pytest.mark.real


@pytest.fixture
def port(product: Product) -> int:
    """A port on which the service listens, beside the unix socket."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    product.table("service", listen=[f"unix:{product.api}", f"127.0.0.1:{port}"])
    return port


@pytest.fixture
def serving(product: Product, port: int, vm: Guest, gate: Gate) -> Iterator[Running]:
    """The service, with a job that waits in its window and one that does not."""
    product.job("vm", cut=gate.cut)
    product.job("vm", name="quick", cut=["/bin/true"])
    product.job("vm", name="failing", cut=["/bin/false"])
    running = product.start("serve")
    running.wait_said("serving")
    yield running
    running.send(signal.SIGTERM)
    assert running.wait().code == 0


@pytest.fixture
def local(product: Product) -> Iterator[httpx.Client]:
    """Asks by the unix socket."""
    with httpx.Client(
        transport=httpx.HTTPTransport(uds=str(product.api)), base_url="http://localhost", timeout=PATIENCE
    ) as client:
        yield client


def ended(client: httpx.Client, run: str, **headers: str) -> Any:
    """The run, when it has ended."""

    def look() -> Any:
        document = client.get(f"/api/v1/runs/{run}", headers=headers).json()
        return document if document["finished_at"] else None

    return wait_for(look, PATIENCE, "the end of the run", poll=0.2)


def test_a_run_is_begun_followed_and_cancelled(
    product: Product, serving: Running, local: httpx.Client, port: int, vm: Guest, gate: Gate
) -> None:
    secret = product("token", "create", "--name", "ci", "--role", "operator", "--json").document["secret"]
    headers = {"Authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as remote:
        assert remote.post("/api/v1/runs", json={"job": "quick"}).status_code == 401
        begun = remote.post("/api/v1/runs", json={"job": "quick"}, headers={**headers, "Idempotency-Key": "1"})
        run = ended(remote, begun.json()["id"], **headers)
        assert (run["state"], run["consistency"], run["trigger"]) == ("done", "filesystem", "manual")

    with local.stream("GET", "/api/v1/events", timeout=PATIENCE) as events:
        lines = events.iter_lines()
        assert next(lines) == "event: ready"
        begun = local.post("/api/v1/runs", json={"job": "job"})
        data = next(json.loads(line[6:]) for line in lines if line.startswith("data: ") and "run" in line)
        assert data["run"]["id"] == begun.json()["id"]
    gate.wait_entered()
    assert vm.fs_frozen()
    assert local.post(f"{begun.headers['location']}/cancel").status_code == 202
    wait_for(lambda: not vm.fs_frozen(), PATIENCE, "the thaw")
    gate.open()
    assert ended(local, begun.json()["id"])["state"] == "cancelled"
    assert product.states() == ["cancelled", "done"]
    told = [(deed["who"], deed["act"], deed["status"]) for deed in product("audit", "--json").document]
    assert ("token ci", "POST /api/v1/runs", 202) in told
    assert ("nobody", "POST /api/v1/runs", 401) in told


def test_the_command_asks_a_service_with_the_same_exit_codes(product: Product, serving: Running, vm: Guest) -> None:
    server = ["--server", f"unix:{product.api}"]
    done = product(*server, "run", "quick", "--json")
    assert (done.code, done.run["state"]) == (0, "done")
    assert product("show", done.run["id"], "--json").run["steps"] == done.run["steps"]
    failed = product(*server, "run", "failing")
    assert failed.code == 1
    assert "The guest is thawed" in failed.err
    assert product(*server, "run", "nothing").code == 2
    assert [run["state"] for run in product(*server, "history", "--json").document] == ["failed", "done"]
    assert not vm.fs_frozen()
