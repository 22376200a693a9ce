"""What the routes are served from. `main` hands it in; nothing here knows adapters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from orchestrator.answers import Report
from orchestrator.demand import Demand
from orchestrator.model import Coming
from orchestrator.ports import Audit, Ledger, Schedules, Statistics, Tokens
from orchestrator.service import Service
from orchestrator.web.feed import Feed


@dataclass(frozen=True)
class Parts:
    """The rest of the product, as the routes need it."""

    service: Service
    demand: Demand
    ledger: Ledger
    statistics: Statistics
    schedules: Schedules
    #: When each job that has a schedule is due, so many times. Raises JournalError.
    coming: Callable[[int], Sequence[Coming]]
    #: What became of all machines in so many days, and who has had no good run for so many.
    report: Callable[[int, int], Report]
    #: The metrics in Prometheus' text format.
    metrics: Callable[[], bytes]
    feed: Feed
    tokens: Tokens
    audit: Audit


def _parts(request: Request) -> Parts:
    found = request.app.state.parts
    assert isinstance(found, Parts)
    return found


#: A route's parameter of this type is given what the site was made with.
Here = Annotated[Parts, Depends(_parts)]
