"""Sums over all tasks."""

from __future__ import annotations

from litestar import Router, get

from taskmill.api import body
from taskmill.api.call import Call, platform_of
from taskmill.api.envelope import Envelope, ok
from taskmill.services.queues.series import Series, SeriesService, SeriesWindow
from taskmill.services.queues.stats import Stats, StatsService, StatsWindow


@get("/stats", operation_id="getStats", summary="Overview", opt={"query": StatsWindow})
async def stats(request: Call) -> Envelope[Stats]:
    """Return live tasks by state, tasks finished in the window, and workers by state."""
    platform = platform_of(request)
    service = StatsService(platform.database, platform.backlog, platform.workers)
    return ok(request, await service.get(body.read_query(request, StatsWindow)))


SERIES = {
    "minutes": 60,
    "interval_minutes": 60,
    "points": [
        {
            "at": "2026-11-29T20:00:00.000Z",
            "completed": 1207,
            "discarded": 3,
            "cancelled": 0,
            "wait_s": {"p50": 0.002378, "p95": 0.019027, "p99": 0.107635},
            "run_s": {"p50": 0.076109, "p95": 0.608874, "p99": 1.722156},
        }
    ],
}


@get(
    "/stats/series",
    operation_id="getStatsSeries",
    summary="Overview over time",
    opt={"query": SeriesWindow, "example": SERIES},
)
async def series(request: Call) -> Envelope[Series]:
    """Return what finished in each interval of the window, and p50, p95 and p99 of how long it waited and ran; 7 days back at most."""
    window = body.read_query(request, SeriesWindow)
    return ok(request, await SeriesService(platform_of(request).database).get(window))


router = Router("/", route_handlers=[stats, series], tags=["overview"], opt={"about": "Workers and sums"})
