"""计划: when they fire next, pause, run now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from litestar import Response, get, post
from litestar.status_codes import HTTP_200_OK

from taskmill.clock import rfc3339
from taskmill.dashboard import constants as dc
from taskmill.dashboard.handlers.queues import OPPOSITE
from taskmill.dashboard.pages import notice, page
from taskmill.dashboard.visit import Visit, caller, page_number, site_of
from taskmill.errors import Code, NotFoundError
from taskmill.services.page import Paging
from taskmill.services.schedules.service import ScheduleView
from taskmill.timetable.timetable import Timetable


@get("/schedules")
async def schedules(request: Visit) -> Response[Any]:
    """Show a page of schedules by name, each with its next fires."""
    found = await site_of(request).schedules.list(Paging(page=page_number(request), page_size=dc.PAGE_SIZE))
    now = datetime.now(UTC)
    return page(request, "schedules.html", found=found, fires={each.id: fires(each, now) for each in found.items})


@post("/schedules/{schedule_id:str}/{action:str}", status_code=HTTP_200_OK)
async def act(request: Visit, schedule_id: str, action: str) -> Response[Any]:
    """Pause, resume, or submit its task at once."""
    service, by = site_of(request).schedules, caller(request)
    if action == "run":
        made = await service.run(schedule_id, by=by)
        return notice(request, said="done_run", facts={"id": str(made.task_id)}, undo=None, failed=[], task=made.task_id)
    if action not in OPPOSITE:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    done = await (service.pause if action == "pause" else service.resume)(schedule_id, by=by)
    undo = ("schedules", str(done.id), OPPOSITE[action])
    return notice(request, said=f"done_{action}_schedule", facts={"name": done.name}, undo=undo, failed=[])


def fires(schedule: ScheduleView, now: datetime) -> list[str]:
    """Return the next fires, none of a paused schedule. The first one is what the database has: it may be due already."""
    if schedule.next_fire_at is None:
        return []
    first = datetime.fromisoformat(schedule.next_fire_at)
    table = Timetable(schedule.cron, schedule.interval_s, schedule.timezone)
    return [rfc3339(each) for each in (first, *table.next_fires(max(first, now), dc.FIRES_SHOWN - 1, first))]
