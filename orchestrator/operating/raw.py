"""An operator's own command for the agent: what it is, and what it may not be.

What was parsed is what is sent, encoded anew: no second parser can read another command out of the same text.
"""

import json
import re
from typing import Any

from orchestrator.errors import ConfigError

#: Each would change what this program must know, behind its back; with the command that does it instead.
FORBIDDEN = {
    "guest-fsfreeze-freeze": "quiesce run",
    "guest-fsfreeze-freeze-list": "quiesce run",
    "guest-fsfreeze-thaw": "quiesce thaw",
    "guest-shutdown": "quiesce power",
    "guest-suspend-disk": "quiesce power",
    "guest-suspend-ram": "quiesce power",
    "guest-suspend-hybrid": "quiesce power",
    "guest-sync": "quiesce agent MACHINE ping",
    "guest-sync-delimited": "quiesce agent MACHINE ping",  # libvirt gives the agent up at its answer
}
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def parse(request: str) -> tuple[str, dict[str, Any]]:
    """The command and its arguments. Raises ConfigError when there is none, or one that is forbidden."""
    try:
        document = json.loads(request, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"the request is not JSON: {error}") from None
    match document:
        case {"execute": str(command), **rest} if rest.keys() <= {"arguments"} and _NAME.fullmatch(command):
            arguments = rest.get("arguments", {})
        case _:
            raise ConfigError('the request must be {"execute": "COMMAND", "arguments": {...}}, and nothing else')
    if not isinstance(arguments, dict):
        raise ConfigError("the arguments of the request must be an object")
    if command in FORBIDDEN:
        raise ConfigError(f"{command} is not sent by hand; use `{FORBIDDEN[command]}`, which sees to what follows")
    return command, arguments


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("an object has the same key twice")
    return dict(pairs)
