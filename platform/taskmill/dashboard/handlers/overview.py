"""概览: what is live, what finished lately, what needs a look."""

from __future__ import annotations

from typing import Any

from litestar import Response

from taskmill.dashboard import constants as dc
from taskmill.dashboard.pages import page
from taskmill.dashboard.trend import trend
from taskmill.dashboard.visit import Visit, platform_of, site_of
from taskmill.services.queues.policy import QueueView
from taskmill.services.queues.stats import Stats
from taskmill.services.tasks.service import TaskFilter
from taskmill.states import State


async def overview(request: Visit) -> Response[Any]:
    """Show sums, attention, the busiest queues and the newest failures."""
    stats, queues = await site_of(request).overview.get()
    wanted = TaskFilter(state=State.DISCARDED, cursor=dc.FIRST, page_size=dc.FAILURES_SHOWN)
    failures = await platform_of(request).tasks.list(wanted)
    busiest = sorted(stats.queues, key=lambda each: -sum(_counts(each)))[: dc.QUEUES_SHOWN]
    return page(
        request,
        "overview.html",
        stats=stats,
        trend=await trend(request, dc.OVERVIEW_HOURS),
        attention=attention(stats, queues.items),
        queues=busiest,
        paused={each.name for each in queues.items if each.paused},
        failures=failures.items,
    )


def attention(stats: Stats, queues: list[QueueView]) -> list[dict[str, Any]]:
    """Return what somebody should look at, the worst first: a phrase, its facts, and the queue that it is about."""
    found: list[dict[str, Any]] = []
    if not stats.schedulers:
        found.append({"phrase": "no_scheduler", "bad": True})
    if not stats.workers["live"]:
        found.append({"phrase": "no_workers", "bad": True})
    if stats.workers["lost"]:
        found.append({"phrase": "workers_lost", "n": stats.workers["lost"], "bad": True})
    found += [
        {"phrase": "queue_paused", "queue": each.name, "by": each.paused_by or "?", "n": each.live.available, "bad": False}
        for each in queues
        if each.paused
    ]
    return found


def _counts(queue: Any) -> tuple[int, ...]:
    live, done = queue.live, queue.finished
    return live.available, live.running, live.scheduled, live.retryable, live.blocked, done.completed, done.discarded
