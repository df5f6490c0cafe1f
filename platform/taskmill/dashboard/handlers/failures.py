"""失败: groups of attempts that failed in the same way, and one group with its newest tasks."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.status_codes import HTTP_200_OK, HTTP_303_SEE_OTHER

from taskmill.dashboard import constants as dc
from taskmill.dashboard.handlers import task_actions
from taskmill.dashboard.pages import page
from taskmill.dashboard.traceback_view import parts
from taskmill.dashboard.visit import Visit, link, platform_of, session_of, site_of, up
from taskmill.errors import Code, InputError, NotFoundError
from taskmill.services.failures import FailureDetail, FailureFilter
from taskmill.services.keys import Scope
from taskmill.services.tasks.service import TaskService
from taskmill.services.tasks.view import TaskAttemptView
from taskmill.text.validation import in_both

ASKED = ("kind", "queue", "cursor")


@get("/failures")
async def failures(request: Visit) -> Response[Any]:
    """Show a page of groups, what failed last first; nothing is counted but the groups themselves."""
    given = {name: value for name in ASKED if (value := request.query_params.get(name))}
    try:
        wanted = msgspec.convert({**given, "page_size": dc.PAGE_SIZE}, FailureFilter)
    except msgspec.ValidationError as error:
        raise InputError(Code.INVALID_REQUEST, field="query", reason=in_both(str(error))) from error
    found = await site_of(request).failures.list(wanted)
    narrowed = {name: given.get(name) for name in ("kind", "queue")}
    return page(request, "failures.html", found=found, narrowed=narrowed)


@get("/failures/{fingerprint:str}")
async def failure(request: Visit, fingerprint: str) -> Response[Any]:
    """Show one group: where it stands, the newest attempt with its traceback, the newest tasks."""
    found = await site_of(request).failures.get(_name(fingerprint))
    sample = await _sample(platform_of(request).tasks, found)
    trace = parts(sample.traceback or "") if sample is not None else []
    can = await _can(request, found)
    return page(request, "failure_group.html", group=found, sample=sample, parts=trace, can=can)


@post("/failures/{fingerprint:str}/{action:str}", status_code=HTTP_200_OK)
async def act(request: Visit, fingerprint: str, action: str) -> Response[Any]:
    """Ask whether to act on the tasks of a group, as many as at once; the answer goes where that of the selected goes."""
    chosen = task_actions.action_named(request, action)
    if not chosen.group:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    found = await site_of(request).failures.tasks(_name(fingerprint), chosen.group, limit=dc.SELECTED_MAX)
    return await task_actions.of_group(request, chosen, found)


async def _can(request: Visit, group: FailureDetail) -> list[str]:
    """对这一组能做什么；不许写的会话什么也不问。"""
    session = session_of(request)
    if session is None or not session.may(Scope.WRITE):
        return []
    offered = {name: action.group for name, action in task_actions.ACTIONS.items() if action.group}
    return await site_of(request).failures.possible(group, offered)


@get("/failures/{fingerprint:str}/newest")
async def newest(request: Visit, fingerprint: str) -> Response[Any]:
    """Lead to the newest task of a group that is still there, else to the group."""
    found = await site_of(request).failures.get(_name(fingerprint))
    path = ("tasks", str(found.tasks[0].id)) if found.tasks else ("failures", found.fingerprint)
    headers = {"Location": link(up(request), *path), "Cache-Control": "no-store"}
    return Response(None, status_code=HTTP_303_SEE_OTHER, headers=headers)


async def _sample(service: TaskService, group: FailureDetail) -> TaskAttemptView | None:
    """最近一次这样失败的尝试；任务刚被清理的，看前一个。「其余」一组里的尝试各有各的指纹。"""
    for task in group.tasks:
        try:
            attempts = await service.attempts(task.id, newest=dc.ATTEMPTS_SHOWN)
        except NotFoundError:
            continue
        mine = [each for each in attempts if group.other or each.fingerprint == group.fingerprint]
        if mine:
            return mine[-1]
    return None


def _name(given: str) -> str:
    return given.replace("\x00", "")
