"""任务: the list with its filter bar, and one task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get
from litestar.status_codes import HTTP_303_SEE_OTHER

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard.pages import page
from taskmill.dashboard.rendering import is_long
from taskmill.dashboard.timeline import steps
from taskmill.dashboard.traceback_view import parts
from taskmill.dashboard.visit import Visit, link, platform_of, site_of, up
from taskmill.errors import Code, InputError, NotFoundError
from taskmill.ids import as_id
from taskmill.services import task_query as query
from taskmill.services.page import Page
from taskmill.services.tasks.view import TaskSummary
from taskmill.states import FINAL, State

# 标签页的次序；空的是全部
TABS = ("", "available", "running", "scheduled", "retryable", "blocked", "completed", "cancelled", "discarded")
# 现成的视图：名字在 phrases.py
VIEWS = {
    "view_failed": f"state:{State.DISCARDED} finished:>1h",
    "view_waiting": f"state:{State.AVAILABLE} created:<10m",
    "view_running": f"state:{State.RUNNING} started:<10m",
    "view_retrying": f"state:{State.RETRYABLE} created:<1h",
}
NONE: Page[TaskSummary] = Page(items=[])


@get("/tasks")
async def tasks(request: Visit) -> Response[Any]:
    """Show a page of tasks, the newest first; a filter that cannot be read is shown with what is wrong with it."""
    text = asked(request)
    error: InputError | None = None
    found = NONE
    try:
        wanted = query.parse(text, datetime.now(UTC), cursor=_cursor(request), page_size=dc.PAGE_SIZE)
        if wanted.task_id is not None:
            return _to_task(request, wanted.task_id)
        found = await platform_of(request).tasks.list(wanted.filter)
    except InputError as refused:
        error = refused
    stats, _ = await site_of(request).overview.get()
    tabs = [(state, query.with_states(text, state)) for state in TABS]
    status = 200 if error is None else error.spec.status
    chosen = next((state for state, made in tabs if made == query.with_states(text, _states(text))), None)
    facts: dict[str, Any] = {"error": error, "found": found, "tabs": tabs, "chosen": chosen, "live": stats.live}
    return page(request, "tasks.html", status, q=text, views=VIEWS, **facts)


@get("/tasks/{task_id:str}")
async def task(request: Visit, task_id: str) -> Response[Any]:
    """Show one task with its attempts, and why it waits or what became of it."""
    service, key = platform_of(request).tasks, task_key(task_id)
    found, explain = await service.explained(key)
    attempts = await service.attempts(key, newest=dc.ATTEMPTS_SHOWN + 1)
    earlier, attempts = len(attempts) > dc.ATTEMPTS_SHOWN, attempts[-dc.ATTEMPTS_SHOWN :]
    result = (await service.result(key)).result if found.state is State.COMPLETED else None
    return page(
        request,
        "task.html",
        task=found,
        explain=explain,
        steps=steps(found, attempts),
        earlier=earlier,
        attempts=[(each, parts(each.traceback or "")) for each in reversed(attempts)],
        result=result,
        panels=await site_of(request).panels.of_task(found, attempts[-1] if attempts else None, result),
        long={name: is_long(value) for name, value in (("args", found.args), ("meta", found.meta), ("result", result))},
        can={
            "cancel": found.state not in FINAL and found.cancel_requested_at is None,
            "retry": found.state in FINAL,
        },
    )


@get("/tasks/{task_id:str}/{part:str}")
async def download(request: Visit, task_id: str, part: str) -> Response[Any]:
    """Return args, meta or result of a task as a file, with every digit."""
    service, key = platform_of(request).tasks, task_key(task_id)
    if part == "result.json":
        value: Any = (await service.result(key)).result
    elif part in {"args.json", "meta.json"}:
        value = getattr(await service.get(key), part.removesuffix(".json"))
    else:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    headers = {"Content-Disposition": f'attachment; filename="{key}-{part}"'}
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)


def asked(request: Visit) -> str:
    """Return the text of the filter bar: `?q=`, or made of the parameters that the list of the API takes."""
    given = request.query_params.get("q")
    if given is not None:
        return given.strip()
    return query.worded(request.query_params)


def task_key(text: str) -> UUID:
    """Return the id in a path; NotFoundError TASK_NOT_FOUND if there can be no such task."""
    if (found := as_id(text)) is None:
        raise NotFoundError(Code.TASK_NOT_FOUND, id=text)
    return found


def _states(text: str) -> str:
    return next((word.removeprefix("state:") for word in text.split() if word.startswith("state:")), "")


def _cursor(request: Visit) -> UUID:
    given = request.query_params.get("cursor")
    if not given:
        return dc.FIRST
    if (found := as_id(given)) is None:
        raise InputError(Code.INVALID_REQUEST, field="cursor", reason=reasons.NOT_A_UUID)
    return found


def _to_task(request: Visit, task_id: UUID) -> Response[Any]:
    place = link(up(request), "tasks", str(task_id))
    return Response(None, status_code=HTTP_303_SEE_OTHER, headers={"Location": place, "Cache-Control": "no-store"})
