"""Sums over all tasks."""

from __future__ import annotations

from litestar import Router, get

from taskmill.api import body
from taskmill.api.call import Call, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.services.queues.stats import Stats, StatsService, StatsWindow


@get("/stats", operation_id="getStats", summary="Overview", opt={"query": StatsWindow})
async def stats(request: Call) -> Envelope[Stats]:
    """Return live tasks by state, tasks finished in the window, and workers by state."""
    platform = platform_of(request)
    service = StatsService(platform.database, platform.backlog, platform.workers)
    return ok(request, await service.get(body.read_query(request, StatsWindow)))


router = Router("/", route_handlers=[stats], tags=["overview"], opt={"about": "Workers and sums"})
