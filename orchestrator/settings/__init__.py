"""The configuration file: read whole, checked whole, and told whole when it is wrong, before anything is touched.

`load` returns plain values of `model`; nobody else sees TOML or pydantic. Whatever is wrong raises one ConfigError
with one line for each problem: file, key, offending value, and what is allowed. Values of `[journal]` and of
`notices.urls` are never repeated there: a URL holds a password.
"""

import stat
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.model import Job, Listener, Machine, Notices, Retention, Tls
from orchestrator.settings import contradictions
from orchestrator.settings.problems import Location, Problem, refusal, shown, suggestion
from orchestrator.settings.tables import (
    Document,
    HypervisorTable,
    JobTable,
    JournalTable,
    Known,
    MachineTable,
    NoticesTable,
    RetentionTable,
    ServiceTable,
    Table,
    TlsTable,
)

LARGEST_FILE = 1024 * 1024

_TABLES: Mapping[object, type[Table]] = {
    "journal": JournalTable,
    "service": ServiceTable,
    "notices": NoticesTable,
    "hypervisors": HypervisorTable,
    "machines": MachineTable,
    "jobs": JobTable,
}

#: How TOML calls the types that pydantic asks for.
_TYPES = {
    "bool_type": "must be true or false",
    "dict_type": "must be a table",
    "list_type": "must be an array",
    "model_type": "must be a table",
    "string_type": "must be a text",
}


@dataclass(frozen=True)
class Settings:
    """What is configured."""

    #: Kept out of `repr`: it may hold a password.
    journal_url: str = field(repr=False)
    #: Seconds for which the journal keeps a run; None: for ever.
    journal_keep: float | None
    #: By name, in the order of the file.
    machines: Mapping[str, Machine]
    #: By name, in the order of the file. Their machines are names; globs are resolved.
    jobs: Mapping[str, Job]
    #: How many machines are worked on at once; None: no limit.
    max_parallel: int | None
    #: The same for those of one hypervisor, by its URI, where there is a limit.
    hypervisors: Mapping[str, int]
    #: Where the service listens.
    listen: tuple[Listener, ...]
    #: What the service shows to who comes over the network; None: it serves without TLS.
    tls: Tls | None
    #: Who is told of runs.
    notices: Notices


def load(path: Path, known_drivers: Collection[str]) -> Settings:
    """The settings in that file. Raises ConfigError with everything that is wrong with it."""
    text = _read(path)
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise refusal(path, ["its arrays or tables are nested too deeply"]) from None
    except ValueError as error:  # TOMLDecodeError, and what it leaves to int() and datetime()
        raise refusal(path, [f"not valid TOML: {error}"]) from None
    return from_document(document, path, known_drivers)


def from_document(document: dict[str, Any], source: Path, known_drivers: Collection[str]) -> Settings:
    """The settings that a parsed document holds. Raises ConfigError, which names `source` as its file."""
    known = Known(
        machines=tuple(contradictions.tables(document, "machines")),
        hypervisors=tuple(contradictions.tables(document, "hypervisors")),
        drivers=frozenset(known_drivers),
    )
    problems = list(contradictions.find(document))
    try:
        tables = Document.model_validate(document, context=known)
    except ValidationError as error:
        problems += [_problem(details) for details in error.errors(include_url=False)]
        raise refusal(source, problems) from None
    if problems:
        raise refusal(source, problems)
    return Settings(
        journal_url=tables.journal.url,
        journal_keep=tables.journal.keep,
        machines=MappingProxyType({name: _machine(name, table, tables) for name, table in tables.machines.items()}),
        jobs=MappingProxyType({name: _job(name, table) for name, table in tables.jobs.items()}),
        max_parallel=tables.service.max_parallel,
        hypervisors={table.uri: table.max_parallel for table in tables.hypervisors.values() if table.max_parallel},
        listen=tuple(dict.fromkeys(tables.service.listen)),
        tls=None if tables.service.tls is None else Tls(**tables.service.tls.model_dump()),
        notices=Notices(tuple(tables.notices.urls), tables.notices.urls_file, frozenset(tables.notices.on)),
    )


def _read(path: Path) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            raise refusal(path, ["not a regular file"])
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise refusal(path, [f"larger than {LARGEST_FILE} bytes: not a configuration file"])
        return content.decode("utf-8-sig")  # editors of Windows begin a file with a mark that TOML does not know
    except UnicodeDecodeError as error:
        raise refusal(path, [f"not UTF-8: {error.reason} at byte {error.start}"]) from None
    except OSError as error:
        raise refusal(path, [error.strerror or str(error)]) from None


def _problem(details: ErrorDetails) -> Problem:
    """What pydantic found, in this file's words."""
    location: Location = details["loc"]
    kind = details["type"]
    if location[-1] == "[key]":  # it is the key itself that is wrong
        location = location[:-1]
    if kind == "extra_forbidden":
        return Problem(location, _unknown_key(location))
    if kind == "missing":
        return Problem(location, "this key is needed")
    secret = location[0] == "journal" or location[:2] == ("notices", "urls")
    value = "..." if secret else shown(details["input"])
    if kind == "value_error":
        return Problem(location, str(details["ctx"]["error"]), value)
    return Problem(location, _TYPES.get(kind) or details["msg"].replace("Input should be", "must be"), value)


def _unknown_key(location: Location) -> str:
    table: type[Table] = Document if len(location) == 1 else _TABLES[location[0]]
    if location[2:3] == ("retention",) and len(location) > len(("jobs", "NAME", "retention")):
        table = RetentionTable
    if location[:2] == ("service", "tls"):
        table = TlsTable
    return f"unknown key; {suggestion(str(location[-1]), table.model_fields)}"


def _machine(name: str, table: MachineTable, tables: Document) -> Machine:
    if table.hypervisor is None:
        return Machine(name, agent=table.agent, qmp=table.qmp)
    uri = tables.hypervisors[table.hypervisor].uri
    return Machine(name, hypervisor=uri, domain=table.domain or name, agent=table.agent, qmp=table.qmp)


def _job(name: str, table: JobTable) -> Job:
    fields = {key: getattr(table, key) for key in JobTable.model_fields}
    machines = dict.fromkeys(machine for names in table.machines for machine in names)
    tuples = {key: tuple(getattr(table, key)) for key in ("mountpoints", "blackout", "before", "after")}
    retention = None if table.retention is None else Retention(**table.retention.model_dump())
    return Job(**{**fields, **tuples, "name": name, "machines": tuple(machines), "retention": retention})
