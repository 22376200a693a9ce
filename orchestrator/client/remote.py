"""What the command line asks for, made from a service's API in place of a configuration file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from orchestrator.answers import Report
from orchestrator.client import reading
from orchestrator.client.http import Api
from orchestrator.client.service import RemoteService
from orchestrator.clock import Clock
from orchestrator.errors import ConfigError
from orchestrator.model import Coming, Deed, Job, Machine, Pausable, Pause


@dataclass(frozen=True)
class Configured:
    """What the service is configured with, by name."""

    machines: Mapping[str, Machine]
    jobs: Mapping[str, Job]


class Remote:
    """Asks the service at a url. What needs the service's own host raises ConfigError."""

    def __init__(self, url: str, token: str | None, clock: Clock) -> None:
        """Raises ConfigError for a url that is none."""
        self._api, self._clock = Api(url, token), clock

    @cached_property
    def _jobs(self) -> Mapping[str, Job]:
        jobs = [reading.value(Job, each) for each in self._api.get("/api/v1/jobs")]
        return {job.name: job for job in jobs}

    def settings(self, path: Path) -> Configured:
        machines = [reading.value(Machine, each) for each in self._api.get("/api/v1/machines")]
        return Configured({machine.name: machine for machine in machines}, self._jobs)

    def service(self, path: Path) -> RemoteService:
        return RemoteService(self._api, self._jobs, self._clock)

    def schedules(self, path: Path) -> "RemotePauses":
        return RemotePauses(self._api)

    def coming(self, path: Path, count: int) -> Sequence[Coming]:
        return [reading.coming(each) for each in self._api.get("/api/v1/coming", count=count)]

    def report(self, path: Path, days: int, overdue: int) -> Report:
        return reading.value(Report, self._api.get("/api/v1/report", days=days, overdue=overdue))

    def deeds(self, path: Path, limit: int) -> Sequence[Deed]:
        return [reading.value(Deed, each) for each in self._api.get("/api/v1/audit", limit=limit)]

    def _on_the_host(self, *arguments: object, **named: object) -> NoReturn:
        raise ConfigError("this command works on the service's own host: run it there, without --server")

    backups = operating = init = upgrade = serve = tokens = audit = vacuum = try_notices = reload = _on_the_host


class RemotePauses:
    """Pauses and resumes on the other side, in the name of who asks."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def pause(self, pause: Pause) -> bool:
        answer = self._api.send("PUT", _pause_of(pause.kind, pause.name), {"reason": pause.reason})
        return bool(answer["changed"])

    def resume(self, kind: Pausable, name: str) -> bool:
        return bool(self._api.send("DELETE", _pause_of(kind, name))["changed"])


def _pause_of(kind: Pausable, name: str) -> str:
    return f"/api/v1/{kind}s/{quote(name, '')}/pause"
