"""Requests to the API, and its problem documents as the errors that they were on the other side."""

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from orchestrator.errors import ConfigError, OutcomeUnknown, QuiesceError, Unreachable

#: Seconds to connect, and for an answer: a thaw by hand waits for others and tries for two minutes.
_CONNECT, _ANSWER = 10.0, 300.0
#: How the type of a problem begins that is one of our errors.
_TYPE = "urn:quiesce:"


class Api:
    """The API of one service."""

    def __init__(self, url: str, token: str | None) -> None:
        """`url` is `unix:/path`, or begins with http:// or https://. Raises ConfigError."""
        self.url = url
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        socket = url.removeprefix("unix:") if url.startswith("unix:/") else None
        if socket is None and not _is_fit(url):
            raise ConfigError(
                f"--server {url}: must be unix:/path, https://HOST:PORT, or http:// with an address of this host: "
                "a token must not cross a network that others can read"
            )
        self._client = httpx.Client(
            base_url=url if socket is None else "http://localhost",
            transport=httpx.HTTPTransport(
                verify=ssl.create_default_context(),
                trust_env=False,
                uds=socket,
                limits=httpx.Limits(max_keepalive_connections=0),  # nothing is left open at the end of a command
            ),
            headers=headers,
            timeout=httpx.Timeout(_ANSWER, connect=_CONNECT),
        )

    def get(self, path: str, **parameters: str | int | None) -> Any:
        """What is there. Raises the service's own errors, Unreachable, and OutcomeUnknown."""
        return self._ask("GET", path, params={key: value for key, value in parameters.items() if value is not None})

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None, key: str | None = None) -> Any:
        """Have something done, with the key under which it is done once. Raises as `get` does."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return self._ask(method, path, json=body, headers=headers)

    @contextmanager
    def events(self, patience: float) -> Iterator[Iterator[str | None]]:
        """Within the `with`, the run that each event is about; None for a sign of life, such as the first one.

        Raises as `get` does, also when there is no sign of life for `patience` seconds.
        """
        timeout = httpx.Timeout(patience, connect=_CONNECT)
        with self._converting(), self._client.stream("GET", "/api/v1/events", timeout=timeout) as answer:
            if not answer.is_success:
                answer.read()
                raise _error(answer)
            yield _events(answer)

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        with self._converting():
            answer = self._client.request(method, path, **what)
            if answer.is_success:
                return answer.json()
            raise _error(answer)

    @contextmanager
    def _converting(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise Unreachable(f"the service at {self.url} cannot be reached: {error}") from error
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise OutcomeUnknown(f"the service at {self.url} gave no answer: {why}") from error
        except ValueError as error:
            raise OutcomeUnknown(f"the answer of the service at {self.url} is not understood: {error}") from error


def _events(answer: httpx.Response) -> Iterator[str | None]:
    for line in answer.iter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: ")).get("run", {}).get("id")
        elif line.startswith(":"):
            yield None


def _error(answer: httpx.Response) -> QuiesceError:
    """The error that the service tells of; one of its own kind if this program knows it."""
    try:
        problem = answer.json()
        kind, detail = str(problem["type"]).removeprefix(_TYPE), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return QuiesceError(f"the service answered {answer.status_code}, and not as a service of quiesce does")
    if answer.status_code in {400, 401, 403, 413, 421, 422}:
        return ConfigError(detail)
    return _kinds(QuiesceError).get(kind, QuiesceError)(detail)


def _kinds(root: type[QuiesceError]) -> dict[str, type[QuiesceError]]:
    """All errors from `root` down, by name."""
    below = [_kinds(kind) for kind in root.__subclasses__()]
    return {root.__name__: root} | {name: kind for kinds in below for name, kind in kinds.items()}


def _is_fit(url: str) -> bool:
    try:
        parts = urlsplit(url)
        if parts.scheme == "https":
            return bool(parts.hostname)
        name = parts.hostname or ""
        return parts.scheme == "http" and (name == "localhost" or ip_address(name).is_loopback)
    except ValueError:
        return False
