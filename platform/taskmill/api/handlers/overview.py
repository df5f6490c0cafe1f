"""Workers and the overview."""

from __future__ import annotations

from litestar import Router, get

from taskmill.api import body
from taskmill.api.call import Call, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.services.page import Page, Paging
from taskmill.services.queues.stats import Stats, StatsWindow
from taskmill.services.workers import WorkerView


@get("/workers", operation_id="listWorkers", summary="List worker processes", opt={"query": Paging})
async def workers(request: Call) -> Envelope[Page[WorkerView]]:
    """Return worker processes, the living first; dead ones stay for an hour."""
    return ok(request, await platform_of(request).workers.list(body.read_query(request, Paging)))


@get("/stats", operation_id="getStats", summary="Overview", opt={"query": StatsWindow})
async def stats(request: Call) -> Envelope[Stats]:
    """Return live tasks by state, tasks finished in the window, and workers by state."""
    return ok(request, await platform_of(request).stats.get(body.read_query(request, StatsWindow)))


router = Router("/", route_handlers=[workers, stats], tags=["overview"])
