"""The pages that only show: the overview, the history, a run, the machines, the jobs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Request, Response

from orchestrator import advice, answers
from orchestrator.answers import Filter, Mark, Success
from orchestrator.errors import ConfigError, NotFound
from orchestrator.model import Consistency, Run, State, Step, Target
from orchestrator.web.page.chart import chart
from orchestrator.web.page.held import held
from orchestrator.web.page.rendering import rendered
from orchestrator.web.page.routing import page_router
from orchestrator.web.page.timeline import timeline
from orchestrator.web.parts import Here

router = page_router()

_MONTH = timedelta(days=30)
#: How much of each list the overview shows.
_JOBS, _MACHINES, _COMING, _FAILURES = 12, 8, 8, 8
#: Runs on a page of the history, and windows and steps that are shown of one machine.
_RUNS, _WINDOWS, _STEPS = 50, 120, 200
#: Machines, or jobs, on one page, and names that a field suggests: a fleet has ten thousand.
_ROWS, _NAMES = 1000, 200


@router.get("/")
def overview(request: Request, here: Here) -> Response:
    """What is stuck or frozen, what runs, what comes, and how it went lately."""
    found = here.ledger.overview(datetime.now(UTC) - _MONTH, _FAILURES)
    now = list(held(found.open))
    machines = here.service.machines
    last_good = [each for each in answers.last_good_of(machines, found.last_good) if each.machine in machines]
    success = sorted(found.success, key=lambda each: (each.done / each.ended, each.job))
    coming = sorted(((each, each.times[0]) for each in here.coming(1)), key=lambda each: each[1])
    return rendered(
        request,
        "overview.html",
        stuck=[each for each in now if each.stuck],
        running=[each for each in now if not each.stuck],
        coming=coming[:_COMING],
        last_good=last_good[:_MACHINES],
        more_machines=len(last_good[_MACHINES:]),
        success=success[:_JOBS],
        more_jobs=len(success[_JOBS:]),
        failures=found.failures,
    )


def wanted(
    job: str = "", machine: str = "", state: str = "", consistency: str = "", since: str = "", until: str = ""
) -> Filter:
    """The runs that the form asks for: what was left empty is not asked for."""
    try:
        return Filter(
            job or None,
            machine or None,
            State(state) if state else None,
            Consistency(consistency) if consistency else None,
            _time(since),
            _time(until),
        )
    except ValueError as error:
        raise ConfigError(f"the filter is not understood: {error}") from None


def mark(before: str = "") -> Mark | None:
    """The place behind which the page begins."""
    try:
        return Mark.parse(before) if before else None
    except ValueError:
        raise ConfigError("there is no such page of the history") from None


@router.get("/runs")
def history(
    request: Request,
    here: Here,
    which: Annotated[Filter, Depends(wanted)],
    before: Annotated[Mark | None, Depends(mark)],
) -> Response:
    """The runs, page by page."""
    found = here.ledger.page(which, before, _RUNS + 1)
    asked = {key: value for key, value in request.query_params.items() if key != "before" and value}
    older = {**asked, "before": str(Mark.of(found[_RUNS - 1]))} if len(found) > _RUNS else None
    return rendered(
        request,
        "history.html",
        which=which,
        runs=found[:_RUNS],
        before=before,
        newest=_address("/runs", asked),
        older=older and _address("/runs", older),
        states=list(State),
        consistencies=list(Consistency),
        jobs=list(here.service.jobs)[:_NAMES],
        machines=list(here.service.machines)[:_NAMES],
    )


@router.get("/runs/{run}")
def show(request: Request, here: Here, run: str, machine: str = "") -> Response:
    """One run, and the timeline of one of its machines: that which went worst, unless another is asked for."""
    found = here.service.show(run)
    shown = _shown(found, machine)
    steps = found.steps_of(shown.machine.name)
    drawn = timeline(found, shown.machine.name)
    bands = [] if drawn is None else [drawn.whole, *([drawn.window] if drawn.window else [])]
    return rendered(
        request,
        "run.html",
        run=found,
        shown=shown,
        advice=[advice.line(found, target) for target in found.targets if target.state not in _CALM][:10],
        timeline=drawn,
        phases=sorted((row for band in bands for row in band.rows), key=lambda row: row.bars[0].begin),
        steps=_shortened(steps),
        more_steps=max(0, len(steps) - _STEPS),
    )


@router.get("/machines")
def machines(request: Request, here: Here) -> Response:
    """All machines, those that were not well for longest first."""
    configured = here.service.machines
    last_good = answers.last_good_of(configured, here.statistics.last_good())
    more = max(0, len(last_good) - _ROWS)
    return rendered(request, "machines.html", machines=last_good[:_ROWS], more=more, configured=configured)


@router.get("/machines/{machine}")
def machine(request: Request, here: Here, machine: str) -> Response:
    """One machine: how long it was frozen, over time."""
    windows = here.ledger.windows(machine, _WINDOWS)
    if machine not in here.service.machines and not here.ledger.page(Filter(machine=machine), None, 1):
        raise NotFound.in_configuration("machine", machine, here.service.machines)
    last_good = here.statistics.last_good()
    return rendered(
        request,
        "machine.html",
        machine=machine,
        configured=machine in here.service.machines,
        jobs=[job.name for job in here.service.jobs.values() if machine in job.machines],
        last_good=next((each for each in last_good if each.machine == machine), None),
        windows=windows,
        chart=chart(windows),
        median=median(window.window_ms for window in windows) if windows else None,
        longest=max(windows, key=lambda window: window.window_ms, default=None),
    )


@router.get("/jobs")
def jobs(request: Request, here: Here) -> Response:
    """All jobs: when each is due, and how it did."""
    success: dict[str, Success] = {
        each.job: each for each in here.ledger.overview(datetime.now(UTC) - _MONTH, 0).success
    }
    coming = {each.job: each for each in here.coming(1)}
    rows = [(job, coming.get(job.name), success.get(job.name)) for job in here.service.jobs.values()]
    return rendered(request, "jobs.html", jobs=rows[:_ROWS], more=max(0, len(rows) - _ROWS))


#: Of a target about which there is nothing to say.
_CALM = {State.PENDING, State.RUNNING, State.DONE}
_WORST_FIRST = (State.STUCK, State.FAILED, State.RECOVERED, State.RUNNING, State.PENDING)


def _shown(run: Run, machine: str) -> Target:
    if machine:
        try:
            return run.target(machine)
        except KeyError:
            raise NotFound(f"run {run.id} has no machine {machine!r}") from None
    grave = (target for state in _WORST_FIRST for target in run.targets if target.state is state)
    return next(grave, run.targets[0])


def _shortened(steps: Sequence[Step]) -> Sequence[Step]:
    """The first and the last steps of many: a thaw may have been tried for days."""
    return steps if len(steps) <= _STEPS else [*steps[: _STEPS // 2], *steps[-_STEPS // 2 :]]


def _time(text: str) -> datetime | None:
    """A time of the form, in UTC. Raises ValueError."""
    if not text:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _address(path: str, asked: dict[str, str]) -> str:
    return f"{path}?{urlencode(asked)}" if asked else path
