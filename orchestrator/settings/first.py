"""A first configuration, written from the domains that there are. It is to be read and changed by a person."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.errors import ConfigError

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write(path: Path, uri: str, domains: Sequence[str]) -> None:
    """Write the configuration, for its owner alone. Raises ConfigError when there is a file already, or none can be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(("\n".join(_lines(uri, domains)) + "\n").encode())
    except FileExistsError:
        raise ConfigError(f"{path}: is there already, and was left as it is; choose another file by --config") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error


def _lines(uri: str, domains: Sequence[str]) -> Iterator[str]:
    yield "# A first configuration of quiesce, made by `quiesce init` from the domains that it found."
    yield "# Can the guests be quiesced? `quiesce check` says. Then: `quiesce run nightly`, and `quiesce serve`."
    yield "[hypervisors.local]"
    yield f"uri = {_text(uri)}"
    taken: set[str] = set()
    for domain in domains:
        name = _name(domain, taken)
        taken.add(name)
        yield ""
        yield f"[machines.{name if _BARE.fullmatch(name) else _text(name)}]"
        yield 'hypervisor = "local"'
        if name != domain:
            yield f"domain = {_text(domain)}"
    yield ""
    comment = "" if taken else "# "
    yield f"{comment}[jobs.nightly]"
    yield f'{comment}machines = ["*"]'
    yield f'{comment}driver = "external-snapshot"'
    yield '# schedule = "0 2 * * *"    # for `quiesce serve`; without it, it is run by `quiesce run nightly` alone'


def _text(value: str) -> str:
    """A basic string of TOML: JSON's, but for characters that JSON would write as two."""
    return json.dumps(value, ensure_ascii=False)


def _name(domain: str, taken: set[str]) -> str:
    """A machine's name that is as near to the domain's as the configuration allows, and no other machine's."""
    name = _NOT_IN_NAMES.sub("_", domain).lstrip(".-")[:60] or "machine"
    candidates = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate not in taken)
