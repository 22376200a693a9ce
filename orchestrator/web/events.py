"""What is written about runs, live: server-sent events (WHATWG HTML, 9.2), which go on where they were left.

An event's id is its position in the journal's feed. So whoever comes again with the last one that it saw misses
nothing, also when the service was restarted meanwhile, or when another process carries the run out.
"""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated

from fastapi import Header, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from orchestrator import documents
from orchestrator.errors import ConfigError, JournalError
from orchestrator.model import Event, Position
from orchestrator.web.callers import Callers
from orchestrator.web.feed import MOST, Feed, Listener
from orchestrator.web.json import api_router
from orchestrator.web.parts import Here
from orchestrator.web.problems import Refusal

router = api_router("", "runs")

#: Seconds after which something is sent, so that the other side, and all between, know that it still goes on.
_ALIVE = 15.0


@router.get("/events", response_class=StreamingResponse)
async def events(
    request: Request, here: Here, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Every write about a run, as it is made: the `run` without its steps, and the `steps` that were written.

    Begins behind `Last-Event-ID`, or now. `event: reset` says that what followed that id is not known any more: read
    the runs anew.
    """
    feed = here.feed
    try:
        seen = None if last_event_id is None else Position.parse(last_event_id)
    except ValueError as error:
        raise ConfigError(f"Last-Event-ID: {error}") from None
    newest = await run_in_threadpool(feed.events.newest)
    lost = seen is not None and not await run_in_threadpool(feed.events.reaches, seen)
    listener = Listener()
    if not feed.add(listener):
        raise Refusal(503, "TooMany", "Too many listen", "try again later", {"Retry-After": "10"})
    position = newest if seen is None or lost else seen
    stream = _stream(request, feed, listener, position, lost=lost)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _stream(
    request: Request, feed: Feed, listener: Listener, position: Position, *, lost: bool
) -> AsyncIterator[str]:
    try:
        # The first words tell the client where it stands before anything happens.
        yield f"event: {'reset' if lost else 'ready'}\nid: {position}\ndata: {{}}\n\n"
        while await run_in_threadpool(_may_still, request):
            found = await _after(feed, position)
            for event in found:
                position = event.at
                yield f"event: run\nid: {position}\ndata: {json.dumps(document(event))}\n\n"
            if len(found) < MOST and not await listener.wait(_ALIVE):
                yield ": still here\n\n"
    finally:
        feed.remove(listener)


def _may_still(request: Request) -> bool:
    """Whether the asker's token holds still, or their session lasts."""
    callers: Callers = request.app.state.callers
    client = request.scope["client"]
    try:
        return callers.identify(client, request.headers, request.cookies).role is not None
    except Refusal:
        return False
    except JournalError:  # it is asked again
        return True


async def _after(feed: Feed, position: Position) -> Sequence[Event]:
    try:
        return await run_in_threadpool(feed.events.after, position, MOST)
    except JournalError:  # it is looked at again
        return ()


def document(event: Event) -> documents.Document:
    """What an event tells."""
    return {"run": documents.summary(event.run), "steps": [documents.step(step) for step in event.steps]}
