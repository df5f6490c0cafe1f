"""队列: backlog, limits, pause."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.status_codes import HTTP_200_OK

from taskmill.controls.queue_settings import SETTINGS
from taskmill.dashboard import constants as dc
from taskmill.dashboard.pages import notice, page
from taskmill.dashboard.trend import trend
from taskmill.dashboard.visit import Visit, caller, page_number, platform_of, site_of
from taskmill.errors import Code, NotFoundError
from taskmill.services.page import Paging


@get("/queues")
async def queues(request: Visit) -> Response[Any]:
    """Show a page of queues by name."""
    found = await platform_of(request).queues.list(Paging(page=page_number(request), page_size=dc.PAGE_SIZE))
    return page(request, "queues.html", found=found, settings=SETTINGS)


@get("/queues/{name:str}")
async def queue(request: Visit, name: str) -> Response[Any]:
    """Show one queue: what waits, what finished and how long it waited and ran, what holds for it."""
    found = await platform_of(request).queues.get(name.replace("\x00", ""))
    stats, _ = await site_of(request).overview.get()
    lately = next((each.finished for each in stats.queues if each.queue == found.name), None)
    drawn = await trend(request, dc.QUEUE_HOURS, found.name)
    return page(request, "queue.html", queue=found, settings=SETTINGS, lately=lately, trend=drawn)


@post("/queues/{name:str}/{action:str}", status_code=HTTP_200_OK)
async def act(request: Visit, name: str, action: str) -> Response[Any]:
    """Pause or resume a queue; each undoes the other."""
    service = platform_of(request).queues
    if action not in OPPOSITE:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    work = service.pause if action == "pause" else service.resume
    done = await work(name.replace("\x00", ""), by=caller(request))
    undo = ("queues", done.name, OPPOSITE[action])
    return notice(request, said=f"done_{action}_queue", facts={"name": done.name}, undo=undo, failed=[])


OPPOSITE = {"pause": "resume", "resume": "pause"}
