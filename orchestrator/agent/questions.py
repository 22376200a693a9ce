"""What an operator may ask the agent: the command for each question, and what its reply must look like.

Each reader returns JSON values with plain names, bounded like all that a guest says; members that QEMU's schema
(`qga/qapi-schema.json`) calls optional are None where they are missing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from orchestrator.acts import Question
from orchestrator.agent.channel import Misfit, Reader
from orchestrator.agent.replies import (
    MAX_COMMANDS,
    MAX_FILESYSTEMS,
    MAX_NAME,
    MAX_PATH,
    array,
    member,
    optional,
    text,
    truth,
    whole,
)
from orchestrator.agent.wire import Json

#: Of each kind: users, interfaces, addresses of one, disks of one file system.
_MAX_ROWS = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OS_MEMBERS = (
    *("id", "name", "pretty-name", "version", "version-id", "machine", "kernel-release", "kernel-version"),
    *("variant", "variant-id"),
)


def _ping(value: Json) -> Json:
    if value != {}:
        raise Misfit("something where an empty object is due")
    return {"answers": True}


def _info(value: Json) -> Json:
    commands = {
        text(member(command, "name"), MAX_NAME): truth(member(command, "enabled"))
        for command in array(member(value, "supported_commands"), MAX_COMMANDS)
    }
    return {
        "version": text(member(value, "version"), MAX_NAME),
        "enabled": sorted(name for name, enabled in commands.items() if enabled),
        "disabled": sorted(name for name, enabled in commands.items() if not enabled),
    }


def _osinfo(value: Json) -> Json:
    return {key.replace("-", "_"): _name(value, key) for key in _OS_MEMBERS}


def _fsinfo(value: Json) -> Json:
    return [
        {
            "mountpoint": text(member(entry, "mountpoint"), MAX_PATH),
            "device": text(member(entry, "name"), MAX_PATH),
            "type": text(member(entry, "type"), MAX_NAME),
            "disks": [disk for each in array(member(entry, "disk"), _MAX_ROWS) if (disk := _name(each, "dev"))],
            "used_bytes": _bytes(entry, "used-bytes"),
            "total_bytes": _bytes(entry, "total-bytes"),
        }
        for entry in array(value, MAX_FILESYSTEMS)
    ]


def _users(value: Json) -> Json:
    return [
        {
            "user": text(member(entry, "user"), MAX_NAME),
            "domain": _name(entry, "domain"),
            "login_time": _time(_seconds(member(entry, "login-time"))),
        }
        for entry in array(value, _MAX_ROWS)
    ]


def _clock(value: Json) -> Json:
    return {"time": _time(whole(value, -(2**63), 2**63 - 1) / 1e9)}


def _hostname(value: Json) -> Json:
    return {"hostname": text(member(value, "host-name"), MAX_NAME)}


def _interfaces(value: Json) -> Json:
    return [
        {
            "name": text(member(entry, "name"), MAX_NAME),
            "hardware_address": _name(entry, "hardware-address"),
            "addresses": optional(entry, "ip-addresses", _addresses) or [],
        }
        for entry in array(value, _MAX_ROWS)
    ]


def _addresses(value: Json) -> list[str]:
    return [
        f"{text(member(entry, 'ip-address'), MAX_NAME)}/{whole(member(entry, 'prefix'), 0, 128)}"
        for entry in array(value, _MAX_ROWS)
    ]


def _trim(value: Json) -> Json:
    return [
        {
            "mountpoint": text(member(entry, "path"), MAX_PATH),
            "trimmed_bytes": _bytes(entry, "trimmed"),
            "error": optional(entry, "error", lambda error: text(error, MAX_PATH)),
        }
        for entry in array(member(value, "paths"), MAX_FILESYSTEMS)
    ]


def _name(value: Json, key: str) -> str | None:
    return optional(value, key, lambda found: text(found, MAX_NAME))


def _bytes(value: Json, key: str) -> int | None:
    return optional(value, key, lambda found: whole(found, 0, 2**64 - 1))


def _seconds(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Misfit("no number")
    return float(value)


def _time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC."""
    try:
        return (_EPOCH + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError) as error:
        raise Misfit("a time that no calendar has") from error


QUESTIONS: Mapping[Question, tuple[str, Reader[Json]]] = {
    Question.PING: ("guest-ping", _ping),
    Question.INFO: ("guest-info", _info),
    Question.OSINFO: ("guest-get-osinfo", _osinfo),
    Question.FSINFO: ("guest-get-fsinfo", _fsinfo),
    Question.USERS: ("guest-get-users", _users),
    Question.TIME: ("guest-get-time", _clock),
    Question.HOSTNAME: ("guest-get-host-name", _hostname),
    Question.INTERFACES: ("guest-network-get-interfaces", _interfaces),
    Question.TRIM: ("guest-fstrim", _trim),
}
