"""The tables of the configuration file, each key with what may stand there.

A validator raises ValueError with *what is allowed* as its text. Names that must exist elsewhere in the file, or as
an installed driver, are looked up in the validation's context, which is a `Known`.
"""

import fnmatch
import json
import posixpath
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, cast
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from orchestrator import blackout, cron, durations
from orchestrator.model import (
    CatchUp,
    Job,
    Listener,
    NoticeKind,
    PreFlush,
    Quiesce,
    Retention,
    TcpListener,
    UnixListener,
    Verify,
)
from orchestrator.settings import rates
from orchestrator.settings.problems import suggestion

#: The longest path that fits the kernel's `sockaddr_un`, in bytes (unix(7)).
LONGEST_SOCKET = 107

#: The most that a rule of a retention can ask for: far more than anybody keeps, and far less than would overflow.
MOST_KEPT = 100_000

#: Where the service listens unless it is told otherwise.
LISTEN = (UnixListener("/run/quiesce/api.sock"), TcpListener("127.0.0.1", 8420))

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_URI = re.compile(r"[a-z][a-z0-9.+-]*:/[!-~]+")


@dataclass(frozen=True)
class Known:
    """The names that a value may refer to."""

    machines: tuple[str, ...]
    hypervisors: tuple[str, ...]
    drivers: frozenset[str]


def _known(info: ValidationInfo) -> Known:
    return cast(Known, info.context)


def _name(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise ValueError("a name is up to 64 of A-Z a-z 0-9 . _ - and begins with none of . and -")
    return text


def _url(url: str) -> str:
    try:
        port = urlsplit(url).port
    except ValueError:
        port = 0
    sqlite = url.startswith("sqlite:////") and "?" not in url and not url.endswith("/")
    if not url.isprintable() or port == 0 or not (sqlite or re.match(r"postgresql\+psycopg://[^\s]", url)):
        raise ValueError('allowed are "sqlite:////absolute/path" and "postgresql+psycopg://user@host/database"')
    return url


def _uri(text: str) -> str:
    if _URI.fullmatch(text) is None:
        raise ValueError('must be a libvirt connection URI, such as "qemu:///system"')
    return text


def _hypervisor(name: str, info: ValidationInfo) -> str:
    if name not in _known(info).hypervisors:
        raise ValueError(f"there is no such hypervisor; {suggestion(name, _known(info).hypervisors)}")
    return name


def _domain(text: str) -> str:
    if not 1 <= len(text) <= 255 or not text.isprintable():
        raise ValueError("must be a libvirt domain's name")
    return text


def _socket(text: str) -> str:
    path = text.removeprefix("unix:")
    if path == text or not _is_path(path) or path.endswith("/") or len(path.encode()) > LONGEST_SOCKET:
        raise ValueError(f'must be "unix:/absolute/path", the path of at most {LONGEST_SOCKET} bytes')
    return path


def _listener(value: object) -> Listener:
    text = value if isinstance(value, str) else ""
    with suppress(ValueError):
        if text.startswith("unix:"):
            return UnixListener(_socket(text))
        parts = urlsplit(f"//{text}")
        address = parts.hostname or ""
        if parts.port and text == str(TcpListener(str(ip_address(address)), parts.port)):
            return TcpListener(address, parts.port)
    raise ValueError('must be "unix:/absolute/path", or an address and a port such as "127.0.0.1:8420" or "[::1]:8420"')


def _address(url: str) -> str:
    if "://" not in url or not url.isprintable():
        raise ValueError('must be an address as apprise has them, such as "mailto://user:password@example.org"')
    return url


def _mountpoint(text: str) -> str:
    if not _is_path(text) or posixpath.normpath(text) != text:
        raise ValueError("must be an absolute path as the guest's mount table has it, with no / at its end")
    return text


def _is_path(text: str) -> bool:
    return text.startswith("/") and text.isprintable()


def _machines(entry: object, info: ValidationInfo) -> tuple[str, ...]:
    """The names that one entry of a job's `machines` stands for, in the order of the file."""
    known = _known(info).machines
    if not isinstance(entry, str):
        raise ValueError("must be a machine's name, or a glob over names")
    if not set(entry) & set("*?["):
        if entry not in known:
            raise ValueError(f"there is no such machine; {suggestion(entry, known)}")
        return (entry,)
    names = tuple(name for name in known if fnmatch.fnmatchcase(name, entry))
    if not names:
        raise ValueError("this glob matches no machine")
    return names


def _driver(name: str, info: ValidationInfo) -> str:
    if name in _known(info).drivers:
        return name
    raise ValueError(f"there is no such driver; {suggestion(name, _known(info).drivers)}")


def _schedule(text: str) -> str:
    try:
        cron.parse(text)
    except ValueError as problem:
        raise ValueError(f'must be a cron expression of 5 fields, such as "0 2 * * *": {problem}') from None
    return text


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # it is unusable, unknown, or a folder of the time zone database
        raise ValueError('must be a name of the time zone database, such as "Europe/Berlin"') from None
    return name


def _blackout(text: str) -> str:
    blackout.parse(text)
    return text


def _duration(least: str, most: str) -> Callable[[object], float]:
    """A validator for durations between two others."""

    def check(value: object) -> float:
        try:
            seconds = durations.seconds(value) if isinstance(value, str) else 0.0
        except ValueError:
            seconds = 0.0
        if not durations.seconds(least) <= seconds <= durations.seconds(most):
            raise ValueError(f'must be a duration from "{least}" to "{most}": a whole number and ms, s, m, h or d')
        return seconds

    return check


def _rate(value: object) -> int:
    try:
        return rates.bytes_per_second(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError('must be a rate such as "50MiB/s": a whole number and KiB/s, MiB/s or GiB/s') from None


def _file(text: str) -> str:
    if not _is_path(text) or posixpath.normpath(text) != text or text == "/":
        raise ValueError("must be the absolute path of a file")
    return text


def _folder(text: str) -> str:
    if not _is_path(text) or posixpath.normpath(text) != text or text == "/":
        raise ValueError("must be the absolute path of a folder, with no / at its end")
    return text


def _json(options: dict[str, Any]) -> dict[str, Any]:
    """Options are journaled, so that recovery makes the same driver: what JSON cannot say would be lost."""
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("may hold only texts, finite numbers, true, false, arrays and tables") from None
    return options


def _count(number: int) -> int:
    if not 1 <= number <= MOST_KEPT:
        raise ValueError(f"must be a number from 1 to {MOST_KEPT}; leave a rule out that you do not want")
    return number


def _program(words: list[str]) -> list[str]:
    if not words or any(not word or "\0" in word for word in words):
        raise ValueError('must be a program and its arguments, such as ["/usr/local/bin/send", "offsite"]')
    return words


Name = Annotated[str, AfterValidator(_name)]
Program = Annotated[list[str], AfterValidator(_program)]
Count = Annotated[int, AfterValidator(_count)]
Socket = Annotated[str, AfterValidator(_socket)]
File = Annotated[str, AfterValidator(_file)]
Listen = Annotated[Listener, BeforeValidator(_listener)]
Names = Annotated[tuple[str, ...], BeforeValidator(_machines)]
#: How many machines at once; None: no limit.
Parallel = Annotated[int, Field(ge=1)] | None


class Table(BaseModel):
    """A table with a fixed set of keys. Nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class JournalTable(Table):
    """`[journal]`"""

    url: Annotated[str, AfterValidator(_url)] = "sqlite:////var/lib/quiesce/journal.db"
    keep: Annotated[float, BeforeValidator(_duration("1d", "36500d"))] | None = None


class TlsTable(Table):
    """`[service.tls]`"""

    certificate: File
    key: File


class ServiceTable(Table):
    """`[service]`"""

    listen: Annotated[list[Listen], Field(max_length=16)] = list(LISTEN)
    tls: TlsTable | None = None
    max_parallel: Parallel = None


class NoticesTable(Table):
    """`[notices]`"""

    urls: list[Annotated[str, AfterValidator(_address)]] = []
    urls_file: Annotated[str, AfterValidator(_file)] | None = None
    on: list[Annotated[NoticeKind, Field(strict=False)]] = list(NoticeKind)


class HypervisorTable(Table):
    """`[hypervisors.NAME]`"""

    uri: Annotated[str, AfterValidator(_uri)]
    max_parallel: Parallel = None


class MachineTable(Table):
    """`[machines.NAME]`"""

    hypervisor: Annotated[str, AfterValidator(_hypervisor)] | None = None
    domain: Annotated[str, AfterValidator(_domain)] | None = None
    agent: Socket | None = None
    qmp: Socket | None = None


class RetentionTable(Table):
    """`retention` of a job. At least one rule, or nothing at all would be kept but the last."""

    keep_last: Count = Retention.keep_last
    keep_hourly: Count = Retention.keep_hourly
    keep_daily: Count = Retention.keep_daily
    keep_weekly: Count = Retention.keep_weekly
    keep_monthly: Count = Retention.keep_monthly
    keep_yearly: Count = Retention.keep_yearly
    keep_within: Annotated[float, BeforeValidator(_duration("1s", "36500d"))] | None = Retention.keep_within


class JobTable(Table):
    """`[jobs.NAME]`"""

    machines: Annotated[list[Names], Field(min_length=1)]
    driver: Annotated[str, AfterValidator(_driver)]
    schedule: Annotated[str, AfterValidator(_schedule)] | None = None
    every: Annotated[float, BeforeValidator(_duration("1s", "366d"))] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None
    jitter: Annotated[float, BeforeValidator(_duration("0s", "1d"))] = Job.jitter
    catch_up: Annotated[CatchUp, Field(strict=False)] = Job.catch_up
    blackout: list[Annotated[str, AfterValidator(_blackout)]] = []
    max_parallel: Parallel = None
    quiesce: Annotated[Quiesce, Field(strict=False)] = Job.quiesce
    mountpoints: list[Annotated[str, AfterValidator(_mountpoint)]] = []
    group: bool = Job.group
    freeze_timeout: Annotated[float, BeforeValidator(_duration("100ms", "10m"))] = Job.freeze_timeout
    hold_limit: Annotated[float, BeforeValidator(_duration("100ms", "10m"))] = Job.hold_limit
    thaw_timeout: Annotated[float, BeforeValidator(_duration("100ms", "1d"))] = Job.thaw_timeout
    pre_flush: Annotated[PreFlush, Field(strict=False)] = Job.pre_flush
    fuse: Annotated[float, BeforeValidator(_duration("1s", "1d"))] | None = Job.fuse
    repository: Annotated[str, AfterValidator(_folder)] | None = None
    full_every: Annotated[float, BeforeValidator(_duration("1s", "3660d"))] = Job.full_every
    max_incrementals: Annotated[int, Field(ge=0, le=10_000)] | None = None
    rate: Annotated[int, BeforeValidator(_rate)] | None = None
    copy_limit: Annotated[float, BeforeValidator(_duration("1s", "366d"))] = Job.copy_limit
    verify: Annotated[Verify, Field(strict=False)] | None = None
    before: Program = []
    after: Program = []
    hook_timeout: Annotated[float, BeforeValidator(_duration("1s", "7d"))] = Job.hook_timeout
    retention: RetentionTable | None = None
    options: Annotated[dict[str, Any], AfterValidator(_json)] = {}


class Document(Table):
    """The whole file."""

    journal: JournalTable = JournalTable()
    service: ServiceTable = ServiceTable()
    notices: NoticesTable = NoticesTable()
    hypervisors: dict[Name, HypervisorTable] = {}
    machines: dict[Name, MachineTable] = {}
    jobs: dict[Name, JobTable] = {}
