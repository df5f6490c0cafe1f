"""What a person does to tasks: to one, or to the selected after a look at how many and which."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar import Response, post
from litestar.status_codes import HTTP_200_OK

from taskmill import reasons
from taskmill.dashboard import constants as dc
from taskmill.dashboard import forms
from taskmill.dashboard.handlers.tasks import task_key
from taskmill.dashboard.pages import notice, page
from taskmill.dashboard.visit import Visit, platform_of
from taskmill.errors import Code, ConflictError, InputError, NotFoundError, TaskmillError
from taskmill.ids import as_id
from taskmill.services.failures import GroupTasks
from taskmill.services.faults import translate
from taskmill.services.tasks.service import TaskService
from taskmill.services.tasks.view import TaskState, TaskSummary
from taskmill.states import FINAL, LIVE, State


@dataclass(frozen=True, slots=True)
class Action:
    """One action: what does it, to which tasks it can apply, and what undoes it (None: nothing).

    `group`: the states of those tasks of a group of failures to which it is done; empty: it is not offered there.
    """

    name: str
    work: Callable[[TaskService, UUID], Awaitable[TaskState]]
    fits: Callable[[TaskSummary], bool]
    undo: str | None = None
    group: frozenset[State] = frozenset()


FAILED = frozenset({State.DISCARDED})  # 后来完成了的、有人取消了的，不在一组失败里重试
ACTIONS = {
    action.name: action
    for action in (
        Action("cancel", TaskService.cancel, lambda task: task.state not in FINAL, undo="retry", group=LIVE),
        Action("retry", TaskService.retry, lambda task: task.state in FINAL, undo="cancel", group=FAILED),
        Action("skip", TaskService.skip, lambda task: task.sequence_key is not None),
    )
}


@post("/tasks/{task_id:str}/{action:str}", status_code=HTTP_200_OK)
async def act(request: Visit, task_id: str, action: str) -> Response[Any]:
    """Do it to one task, and offer to undo it where the new state allows that."""
    chosen, key = action_named(request, action), task_key(task_id)
    done = await chosen.work(platform_of(request).tasks, key)
    said = "cancel_asked" if done.cancel_requested else f"done_{action}"
    undo = chosen.undo if chosen.undo == "cancel" or (chosen.undo == "retry" and done.state in FINAL) else None
    return notice(request, said=said, facts={"id": str(key)}, undo=undo and ("tasks", str(key), undo), failed=[])


@post("/tasks/selected", status_code=HTTP_200_OK)
async def selected(request: Visit) -> Response[Any]:
    """Show how many of the selected tasks the action applies to, and some of them; with `confirmed` do it."""
    form = await forms.read(request)
    chosen = action_named(request, forms.one(form, "action"))
    keys = _keys(form.get("id", []))
    if forms.one(form, "confirmed") != "yes":
        return await _preview(request, chosen, keys)
    done, failed = 0, list[tuple[UUID, TaskmillError]]()
    for key in await _still(request, chosen, keys) if forms.one(form, "group") else keys:
        try:
            await chosen.work(platform_of(request).tasks, key)
            done += 1
        except Exception as error:
            if (known := translate(error)) is None:
                raise
            failed.append((key, known))
            if not isinstance(known, (ConflictError, NotFoundError)):
                break  # 服务器不在：做了几个、停在哪里，都要说；它自己变了的只是跳过
    facts = {"n": done, "of": len(keys)}
    return notice(request, said=f"done_{chosen.name}_many", facts=facts, undo=None, failed=failed)


async def of_group(request: Visit, chosen: Action, found: GroupTasks) -> Response[Any]:
    """Ask before the tasks of a group of failures are acted on: how many at once, and some of them."""
    tasks = {task.id: task for task in await platform_of(request).tasks.some(found.ids)} if found.ids else {}
    fitting = [tasks[key] for key in found.ids if key in tasks and tasks[key].state in chosen.group]
    shown: dict[str, Any] = {"fitting": fitting, "sample": fitting[: dc.SAMPLE], "rest": 0}
    return page(request, "confirm.html", action=chosen.name, group=True, more=found.more, **shown)


async def _still(request: Visit, chosen: Action, keys: list[UUID]) -> list[UUID]:
    """问过之后已经好了的（例如别人重试成功的），不再动它。"""
    found = {task.id for task in await platform_of(request).tasks.some(keys) if task.state in chosen.group}
    return [key for key in keys if key in found]


async def _preview(request: Visit, chosen: Action, keys: list[UUID]) -> Response[Any]:
    found = {task.id: task for task in await platform_of(request).tasks.some(keys)}  # 已被清理的不必再提
    fitting = [found[key] for key in keys if key in found and chosen.fits(found[key])]
    sample, rest = fitting[: dc.SAMPLE], len(keys) - len(fitting)
    return page(request, "confirm.html", action=chosen.name, fitting=fitting, sample=sample, rest=rest, group=False)


def action_named(request: Visit, name: str) -> Action:
    """Return an action; NotFoundError ROUTE_NOT_FOUND."""
    if name not in ACTIONS:
        raise NotFoundError(Code.ROUTE_NOT_FOUND, path=request.scope["path"])
    return ACTIONS[name]


def _keys(given: list[str]) -> list[UUID]:
    keys = list(dict.fromkeys(found for each in given if (found := as_id(each)) is not None))
    if not keys or len(keys) > dc.SELECTED_MAX:
        raise InputError(Code.INVALID_REQUEST, field="id", reason=reasons.WITHIN(low=1, high=dc.SELECTED_MAX))
    return keys
