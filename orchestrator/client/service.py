"""The use cases, carried out by the service on the other side."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from orchestrator.client import reading
from orchestrator.client.http import Api
from orchestrator.clock import Clock, Deadline, Stop
from orchestrator.errors import ConfigError, NotFound, OutcomeUnknown, QuiesceError, Unreachable
from orchestrator.model import Health, Job, Located, Pruned, Run, Sighting, State
from orchestrator.ports import Observer

#: Seconds without any sign of the service, which gives one every 15 s, and for which it is looked for again.
_SILENCE, _AWAY = 40.0, 120.0
#: Seconds between two tries to reach it, and the runs of a page.
_AGAIN, _PAGE = 1.0, 500
_RUNS = "/api/v1/runs"


class RemoteService:
    """`quiesce` on a host asks this as it asks `orchestrator.service.Service`, with the same errors."""

    def __init__(self, api: Api, jobs: Mapping[str, Job], clock: Clock) -> None:
        self._api, self._jobs, self._clock = api, jobs, clock

    def run(
        self, job: str, *, machine: str | None = None, observer: Observer | None = None, stop: Stop | None = None
    ) -> Run:
        """Have a job run, and follow it to its end. A stop is passed on; the run goes on if the service is lost."""
        run_id = self._start({"job": job, "machine": machine})
        with (stop or Stop()).calling(lambda: self._clock.start("cancel", lambda: self._cancel(run_id))):
            return self._follow(run_id, observer or (lambda step: None))

    def prune(
        self,
        job: str | None = None,
        *,
        machine: str | None = None,
        dry_run: bool = False,
        observer: Observer | None = None,
        stop: Stop | None = None,
    ) -> tuple[Pruned, ...]:
        """Not over HTTP: the service itself prunes after each good run."""
        raise ConfigError("`quiesce prune` works on the service's own host: run it there, without --server")

    def snapshots(self, machine: str | None = None) -> tuple[Located, ...]:
        """See `orchestrator.service.Service`."""
        return tuple(reading.located(each) for each in self._api.get("/api/v1/snapshots", machine=machine))

    def recover(self, observer: Observer | None = None) -> tuple[Run, ...]:
        """See `orchestrator.service.Service`."""
        return self._recovered({"all": False})[0]

    def sweep(self, observer: Observer | None = None) -> tuple[tuple[Run, ...], tuple[Sighting, ...]]:
        """See `orchestrator.service.Service`."""
        return self._recovered({"all": True})

    def thaw(
        self, machine: str, *, force: bool = False, reason: str | None = None, observer: Observer | None = None
    ) -> Run:
        """See `orchestrator.service.Service`."""
        how = {"force": force, "reason": reason}
        run = self._read(self._api.send("POST", f"/api/v1/machines/{quote(machine, '')}/thaw", how))
        for step in run.steps:
            if observer is not None:
                observer(step)
        return run

    def check(self, machine: str) -> Health:
        """See `orchestrator.service.Service`."""
        return reading.value(Health, self._api.get(f"/api/v1/machines/{quote(machine, '')}/check"))

    def history(
        self, limit: int, *, job: str | None = None, machine: str | None = None, state: State | None = None
    ) -> tuple[Run, ...]:
        """See `orchestrator.service.Service`."""
        runs = self._pages(limit, job, machine, state)
        if state is None:  # an old one that is stuck comes before all others
            stuck = self._pages(limit, job, machine, State.STUCK)
            runs = stuck + tuple(run for run in runs if run.state is not State.STUCK)
        return runs[:limit]

    def show(self, run_id: str) -> Run:
        """See `orchestrator.service.Service`."""
        return self._read(self._api.get(f"{_RUNS}/{quote(run_id, '')}"))

    def _read(self, document: Any) -> Run:
        return reading.run(document, self._jobs)

    def _pages(self, limit: int, job: str | None, machine: str | None, state: State | None) -> tuple[Run, ...]:
        found: list[Run] = []
        before = None
        while len(found) < limit:
            most = min(limit - len(found), _PAGE)
            page = self._api.get(_RUNS, job=job, machine=machine, state=state, limit=most, before=before)
            found += [self._read(each) for each in page["runs"]]
            before = page["next"]
            if before is None:
                break
        return tuple(found)

    def _recovered(self, how: Mapping[str, bool]) -> tuple[tuple[Run, ...], tuple[Sighting, ...]]:
        answer = self._api.send("POST", "/api/v1/recover", how)
        seen = tuple(reading.value(Sighting, each) for each in answer["machines"])
        return tuple(self._read(each) for each in answer["runs"]), seen

    def _cancel(self, run_id: str) -> None:
        with suppress(QuiesceError):  # it has ended, or the service has: the run itself will tell
            self._api.send("POST", f"{_RUNS}/{run_id}/cancel")

    def _start(self, wanted: Mapping[str, str | None]) -> str:
        """Begin a run, once, also when an answer is lost; return its id."""
        key, patience, sent = str(uuid.uuid4()), Deadline.after(self._clock, _AWAY), False
        while True:
            try:
                return str(self._api.send("POST", _RUNS, wanted, key)["id"])
            except OutcomeUnknown:
                sent = True
                if patience.passed:
                    raise
            except Unreachable:
                if not sent or patience.passed:
                    raise
            self._clock.sleep(_AGAIN)

    def _follow(self, run_id: str, observer: Observer) -> Run:
        """Show the steps of a run as they come, until it has ended. Raises OutcomeUnknown when the service is lost."""
        shown, patience = 0, Deadline.after(self._clock, _AWAY)
        while True:
            try:
                with self._api.events(_SILENCE) as events:
                    for about in events:  # the first, before anything happens, is about no run
                        if about is not None and about != run_id:
                            continue
                        run = self._found(run_id)
                        for step in run.steps[shown:] if run else ():
                            observer(step)
                        shown, patience = len(run.steps) if run else 0, Deadline.after(self._clock, _AWAY)
                        if run is not None and run.finished_at is not None:
                            return run
            except (Unreachable, OutcomeUnknown) as error:
                if patience.passed:
                    raise OutcomeUnknown(f"{error}; run {run_id} goes on there: look at it when it is back") from error
            self._clock.sleep(_AGAIN)

    def _found(self, run_id: str) -> Run | None:
        try:
            return self.show(run_id)
        except NotFound:  # a guest of its is recovered first
            return None
