"""What is wrong between keys, where each value by itself may be right.

These look at the document as it was read, not as it was validated: so they are told beside all other problems,
and whatever has the wrong type is passed over here, because its own table already complains.
"""

import posixpath
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from orchestrator import durations, policy
from orchestrator.model import Job
from orchestrator.settings.problems import Location, Problem, dotted, shown

_Document = Mapping[str, Any]


def find(document: _Document) -> Iterator[Problem]:
    """All contradictions of the document."""
    for name, machine in tables(document, "machines").items():
        yield from _unreachable(("machines", name), machine)
    for name, job in tables(document, "jobs").items():
        if "schedule" in job and "every" in job:
            yield Problem(("jobs", name, "every"), "not together with schedule: choose one", shown(job["every"]))
        yield from _burns_too_early(("jobs", name), job)
        yield from _kept_nowhere(("jobs", name), job)
        yield from _irremovable(("jobs", name), job)
    yield from _in_the_open(document)
    yield from _shared(document)


def tables(document: _Document, kind: str) -> dict[str, _Document]:
    """The named tables below `[kind]`, without what is no table."""
    named = document.get(kind)
    if not isinstance(named, dict):
        return {}
    return {name: table for name, table in named.items() if isinstance(table, dict)}


def _unreachable(location: Location, machine: _Document) -> Iterator[Problem]:
    if "hypervisor" not in machine and "agent" not in machine:
        yield Problem(location, 'no way to the agent: give a hypervisor, or agent = "unix:/path"')
    if "domain" in machine and "hypervisor" not in machine:
        yield Problem((*location, "domain"), "only together with hypervisor", shown(machine["domain"]))


def _burns_too_early(location: Location, job: _Document) -> Iterator[Problem]:
    """A fuse that may burn in a window that keeps its limits would spoil the cut."""
    try:
        limits = {"freeze_timeout": Job.freeze_timeout, "hold_limit": Job.hold_limit}
        limits |= {key: durations.seconds(job[key]) for key in limits if key in job}
        fuse = durations.seconds(job["fuse"])
    except (KeyError, TypeError, ValueError):  # there is none, or its own table complains
        return
    least = policy.shortest_fuse(**limits)
    if fuse < least:
        text = f"must be at least {least:g}s, freeze_timeout + hold_limit + 15s: else it may burn before the thaw"
        yield Problem((*location, "fuse"), text, shown(job["fuse"]))


def _kept_nowhere(location: Location, job: _Document) -> Iterator[Problem]:
    if "repository" in job:
        return
    if job.get("driver") == "backup":
        yield Problem(location, 'driver = "backup" needs a repository: the absolute path of the folder for the backups')
    for key in ("full_every", "max_incrementals", "rate", "copy_limit", "verify"):
        if key in job:
            yield Problem((*location, key), "only together with repository", shown(job[key]))


def _irremovable(location: Location, job: _Document) -> Iterator[Problem]:
    if job.get("retention") == {}:
        yield Problem((*location, "retention"), "give at least one rule, such as keep_daily = 7", "{}")
    options = job.get("options")
    removable = job.get("driver") != "command" or (isinstance(options, dict) and "remove" in options)
    if "retention" in job and not removable:
        text = "the driver command cannot remove what it made without the option `remove`, a program and its arguments"
        yield Problem((*location, "retention"), text)


def _in_the_open(document: _Document) -> Iterator[Problem]:
    """Tokens must not cross a network that anybody can read."""
    service = document.get("service")
    if not isinstance(service, dict) or "tls" in service or not isinstance(service.get("listen"), list):
        return
    for index, text in enumerate(service["listen"]):
        with suppress(ValueError):
            if isinstance(text, str) and not ip_address(urlsplit(f"//{text}").hostname or "").is_loopback:
                allowed = "an address that others can reach needs [service.tls] with certificate and key"
                yield Problem(("service", "listen", index), allowed, shown(text))


def _shared(document: _Document) -> Iterator[Problem]:
    """A socket serves one client, and a guest that has two names would be in two runs at once."""
    users: defaultdict[tuple[str, ...], list[tuple[Location, str]]] = defaultdict(list)
    for name, machine in tables(document, "machines").items():
        for key in ("agent", "qmp"):
            if isinstance(machine.get(key), str):
                users["socket", posixpath.normpath(machine[key])].append((("machines", name, key), machine[key]))
        domain = machine.get("domain", name)
        if isinstance(machine.get("hypervisor"), str) and isinstance(domain, str):
            users["domain", _uri(document, machine["hypervisor"]), domain].append((("machines", name), domain))
    for (kind, *_), ((first, _), *others) in users.items():
        for other, value in others:
            yield Problem(other, f"the same {kind} as {dotted(first)}: each machine needs its own", shown(value))


def _uri(document: _Document, hypervisor: str) -> str:
    """Two hypervisors may be one: they are told apart by what they connect to."""
    uri = tables(document, "hypervisors").get(hypervisor, {}).get("uri")
    return uri if isinstance(uri, str) else hypervisor
