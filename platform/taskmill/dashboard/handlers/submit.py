"""提交任务: choose a kind, fill in the form that its JSON Schema makes, and go to the task."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.status_codes import HTTP_200_OK, HTTP_422_UNPROCESSABLE_ENTITY

from taskmill import constants as c
from taskmill import reasons
from taskmill.controls.once import Once
from taskmill.dashboard import constants as dc
from taskmill.dashboard import forms
from taskmill.dashboard.draft import Draft
from taskmill.dashboard.pages import HEADERS, page
from taskmill.dashboard.schema_form import Field, fields_of, whole
from taskmill.dashboard.visit import Visit, caller, link, page_number, platform_of, session_of, site_of, up
from taskmill.errors import Code, InputError, TaskmillError
from taskmill.ids import as_id, new_id
from taskmill.services.catalog import KindDetail
from taskmill.services.keys import Scope
from taskmill.services.page import Paging
from taskmill.services.tasks.submit_request import SubmitRequest
from taskmill.services.tasks.submitted import Submitted

AS_JSON = "json"
OPTIONS = ("queue", "priority", "run_at")
FORM_FACTOR = 3  # 百分号编码把一个字节写成三个


@get("/tasks/new")
async def form(request: Visit) -> Response[Any]:
    """Show the kinds to choose from, or the form of one: `?kind=`, with `?as=json` one box for all args."""
    if (session := session_of(request)) is not None:
        session.require(Scope.WRITE)
    asked = {name: request.query_params.get(name, "") for name in ("kind", "as", *OPTIONS)}
    if not asked["kind"]:
        paging = Paging(page=page_number(request), page_size=dc.PAGE_SIZE)
        return page(request, "kinds.html", kinds=await site_of(request).catalog.kinds(paging))
    kind = await site_of(request).catalog.kind(asked["kind"].replace("\x00", ""))
    return _shown(
        request, kind, Draft(_root(kind, asked["as"]), {name: [value] for name, value in asked.items()}), fresh=True
    )


@post("/tasks/new", status_code=HTTP_200_OK)
async def submit(request: Visit) -> Response[Any]:
    """Submit what was typed and lead to the task; what is wrong is told at its field, and everything else stays typed."""
    given = await forms.read(request, dc.FORM_MAX_BYTES + FORM_FACTOR * platform_of(request).settings.args_max_bytes)
    kind = await site_of(request).catalog.kind(forms.one(given, "kind").replace("\x00", ""))
    draft = Draft(_root(kind, forms.one(given, "as")), given)
    service = platform_of(request).submit
    draft.check((await service.kinds.get(kind.kind, kind.version)).refusals(draft.args))
    wanted = _request(kind, draft)
    if wanted is None or draft.refused:
        return _shown(request, kind, draft)
    try:
        done = await service.submit(wanted, created_by=caller(request), once=_once(request, draft, wanted))
    except TaskmillError as error:
        return _shown(request, kind, draft, _told(draft, error), status=error.spec.status)
    site_of(request).overview.forget()
    site_of(request).names.forget()  # 也许是新的队列
    if done.duplicate:
        return _shown(request, kind, draft, duplicate=done)
    place = link(up(request), "tasks", str(done.id))
    return Response(b"", headers=HEADERS | {"Cache-Control": "no-store", "HX-Redirect": place})


def _root(kind: KindDetail, asked: str) -> Field:
    return whole() if asked == AS_JSON else fields_of(kind.args_schema)


def _request(kind: KindDetail, draft: Draft) -> SubmitRequest | None:
    """表里说的任务；选项读不出来的，记在它的字段上。参数与版本照表里的 Schema。"""
    typed = {name: draft.typed.get(name, "").strip() for name in OPTIONS}
    made = SubmitRequest(kind=kind.kind, version=kind.version, args=draft.args, queue=typed["queue"] or None)
    if typed["priority"]:
        if typed["priority"] not in map(str, c.PRIORITIES):
            draft.say("priority", reasons.NOT_A_CHOICE)
            return None
        made.priority = int(typed["priority"])
    if typed["run_at"]:
        try:
            moment = datetime.fromisoformat(typed["run_at"])
        except ValueError:
            draft.say("run_at", reasons.NOT_A_TIME(value=typed["run_at"][: c.NAME_MAX_CHARS]))
            return None
        made.run_at = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return made


def _once(request: Visit, draft: Draft, wanted: SubmitRequest) -> Once:
    """表里带着一个键：按了两次、断线之后再按，任务只有一个。"""
    key = as_id(draft.typed.get("once", "")) or new_id()
    return Once(caller(request), f"form:{key}", hashlib.sha256(msgspec.json.encode(wanted)).digest())


def _told(draft: Draft, error: TaskmillError) -> TaskmillError | None:
    """说得出是哪个字段的，写在字段下面；其余的写在最上面。"""
    field, reason = str(error.details.get("field", "")), error.details.get("reason")
    if isinstance(error, InputError) and reason is not None and field in OPTIONS:
        draft.say(field, reason)
        return None
    return error


def _shown(
    request: Visit,
    kind: KindDetail,
    draft: Draft,
    error: TaskmillError | None = None,
    *,
    duplicate: Submitted | None = None,
    fresh: bool = False,
    status: int = HTTP_422_UNPROCESSABLE_ENTITY,
) -> Response[Any]:
    conflict = error is not None and error.code is Code.IDEMPOTENCY_CONFLICT
    once = draft.typed.get("once") if not conflict and duplicate is None else None
    answer = page(
        request,
        "submit.html",
        HTTP_200_OK if fresh or duplicate else status,
        kind=kind,
        draft=draft,
        error=error,
        duplicate=duplicate,
        fresh=fresh,
        once=once or str(new_id()),
        priorities=c.PRIORITIES,
        wrong=[each for each in (*draft.root.each(),) if each.name in draft.refused],
        options=[name for name in OPTIONS if name in draft.refused],
        as_json=draft.typed.get("as") == AS_JSON,
    )
    if not fresh:
        answer.headers |= {"HX-Retarget": "#page", "HX-Reswap": "innerHTML show:window:top", "Cache-Control": "no-store"}
    return answer
