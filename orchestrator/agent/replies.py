"""What each reply of the agent must look like: exact types and sane ranges, or `Misfit`.

The shapes are those of QEMU's `qga/qapi-schema.json`. Members that are not needed are not looked at. Text is the
guest's own and stays as it is; whoever prints it escapes it.
"""

import base64
import binascii

from orchestrator.agent.channel import Misfit, Reader, T
from orchestrator.agent.wire import Json
from orchestrator.model import AgentInfo, ExecResult, Filesystem, FreezeStatus, OsInfo

#: Characters of a path: PATH_MAX of Linux.
MAX_PATH = 4096
#: Characters of a name or a version.
MAX_NAME = 256
MAX_COMMANDS = 1_000
MAX_FILESYSTEMS = 10_000
#: The largest count of file systems that is believed.
MAX_COUNT = 2**31 - 1
#: Bytes of one output stream of a program in the guest.
MAX_OUTPUT = 1024 * 1024
_MAX_BASE64 = (MAX_OUTPUT + 2) // 3 * 4


def nothing(value: Json) -> None:
    """The empty object that a command without result answers."""
    if value != {}:
        raise Misfit("something where an empty object is due")


def count(value: Json) -> int:
    """How many file systems were frozen or thawed."""
    return whole(value, 0, MAX_COUNT)


def freeze_status(value: Json) -> FreezeStatus:
    try:
        return FreezeStatus(text(value, MAX_NAME))
    except ValueError as error:
        raise Misfit("a status that does not exist") from error


def info(value: Json) -> AgentInfo:
    commands = array(member(value, "supported_commands"), MAX_COMMANDS)
    enabled = (text(member(command, "name"), MAX_NAME) for command in commands if truth(member(command, "enabled")))
    return AgentInfo(text(member(value, "version"), MAX_NAME), frozenset(enabled))


def osinfo(value: Json) -> OsInfo:
    def name(key: str) -> str | None:
        return optional(value, key, lambda found: text(found, MAX_NAME))

    return OsInfo(name("id"), name("name"), name("version"), name("kernel-release"))


def filesystems(value: Json) -> tuple[Filesystem, ...]:
    return tuple(
        Filesystem(
            mountpoint=text(member(entry, "mountpoint"), MAX_PATH),
            device=text(member(entry, "name"), MAX_PATH),
            type=text(member(entry, "type"), MAX_NAME),
        )
        for entry in array(value, MAX_FILESYSTEMS)
    )


def process(value: Json) -> int:
    """The number by which the agent knows a process; on Windows a handle."""
    return whole(member(value, "pid"), 0, 2**63 - 1)


def ended(value: Json) -> ExecResult | None:
    """How a process ended, or None while it runs. Windows has exit codes of 32 bits, with or without a sign."""
    if not truth(member(value, "exited")):
        return None
    return ExecResult(
        exit_code=optional(value, "exitcode", lambda code: whole(code, -(2**31), 2**32 - 1)),
        output=optional(value, "out-data", _output) or b"",
        error_output=optional(value, "err-data", _output) or b"",
    )


def handle(value: Json) -> int:
    """The number by which the agent knows an open file."""
    return whole(value, 0, 2**63 - 1)


def content(value: Json) -> bytes:
    """What was read of a file."""
    return _output(member(value, "buf-b64"))


def _output(value: Json) -> bytes:
    encoded = text(value, _MAX_BASE64)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Misfit("output that is not base64") from error


def member(value: Json, key: str) -> Json:
    if not isinstance(value, dict) or key not in value:
        raise Misfit(f"no member {key!r}")
    return value[key]


def optional(value: Json, key: str, read: Reader[T]) -> T | None:
    if not isinstance(value, dict):
        raise Misfit("no object")
    return read(value[key]) if key in value else None


def array(value: Json, longest: int) -> list[Json]:
    if not isinstance(value, list):
        raise Misfit("no array")
    if len(value) > longest:
        raise Misfit(f"an array of {len(value)}, more than {longest}")
    return value


def text(value: Json, longest: int) -> str:
    if not isinstance(value, str):
        raise Misfit("no text")
    if len(value) > longest:
        raise Misfit(f"a text of {len(value)} characters, more than {longest}")
    return value


def whole(value: Json, least: int, most: int) -> int:
    if type(value) is not int:  # isinstance() would take True and False for numbers
        raise Misfit("no whole number")
    if not least <= value <= most:
        raise Misfit(f"the number {value}, out of range")
    return value


def truth(value: Json) -> bool:
    if not isinstance(value, bool):
        raise Misfit("neither true nor false")
    return value
