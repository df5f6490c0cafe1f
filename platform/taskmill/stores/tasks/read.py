"""Reads of tasks: each is one UNION ALL over live tasks and history, so that a row that moves is seen once."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal,
    null,
    select,
    text,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill import constants as c
from taskmill import reasons
from taskmill.errors import Code, InputError
from taskmill.models.task import Task, TaskHistory
from taskmill.states import FINAL, LIVE, State
from taskmill.stores import constants as sc
from taskmill.stores.database import Connection, Queryable
from taskmill.stores.sqlstates import CANCELLED

_COLUMNS = [column.name for column in Task.__table__.columns if column.name not in {"slot", "followed"}]  # 只有活的任务才有
_LIST = [name for name in _COLUMNS if name not in {"args", "meta"}]  # 列表不带大字段
# 以前存下的、驱动读不回的时刻（公元一万年以后）：照样列得出来
_READABLE = datetime(c.TIME_YEARS[1] + 1, 1, 1, tzinfo=UTC)
_NAMES = ", ".join(f"least(run_at, '{_READABLE.isoformat()}') as run_at" if name == "run_at" else name for name in _COLUMNS)
# id 由提交者的时钟生成，created_at 由数据库的时钟生成；相差超过一天才会漏行
_CLOCK_MARGIN_S = 86_400.0
_ID_TIME_BITS = 48  # UUIDv7 开头的毫秒数
_ID_REST_BITS = 80
_SURELY_OURS = 0.9  # 两边的钟不同，差一点也算到了时限

ONE = f"""
select {_NAMES}, slot, null::timestamptz as finished_at, now() as asked_at from taskmill.tasks where id = $1
union all
select {_NAMES}, null::smallint, finished_at, now() from taskmill.task_history where id = $1
"""
RESULT = """
select id, state, null::jsonb as result, error, null::timestamptz as finished_at from taskmill.tasks where id = $1
union all
select id, state, result, error, finished_at from taskmill.task_history where id = $1
"""
STORED = """
select state, result, error ->> 'message' as error, started_at, finished_at
from taskmill.task_history where id = $1
"""
# 任务存在而没有失败的尝试时，左连接仍给出一行
ATTEMPTS = """
select a.claim_no, a.attempt, a.cause, a.error_type, a.message, a.message_zh, a.traceback, a.worker_id, a.started_at, a.finished_at,
       a.fingerprint
from (select id from taskmill.tasks where id = $1
      union all
      select id from taskmill.task_history where id = $1) t
left join taskmill.task_attempts a on a.task_id = t.id
order by a.claim_no desc limit $2
"""


@dataclass(frozen=True, slots=True)
class StoredResult:
    """State and result (JSON bytes) of a final task."""

    state: str
    result: bytes | None
    error: str | None
    started_at: datetime | None
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """What a list of tasks is filtered by; None and empty mean: anything. `before` is the keyset (ids below it)."""

    queue: str | None = None
    states: frozenset[State] = frozenset()
    kind: str | None = None
    tag: str | None = None
    schedule_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    before: UUID | None = None
    ids: frozenset[UUID] | None = None


async def fetch(connection: Queryable, task_id: UUID) -> Any | None:
    """Return the row of a task with jsonb as bytes, None if it is unknown."""
    return await connection.fetchrow(ONE, task_id)


async def fetch_result(connection: Connection, task_id: UUID) -> Any | None:
    """Return id, state, result, error, finished_at, None if the task is unknown."""
    return await connection.fetchrow(RESULT, task_id)


async def fetch_stored(connection: Queryable, task_id: str) -> StoredResult | None:
    """Return the result, or None if the task is not final or does not exist."""
    row = await connection.fetchrow(STORED, UUID(task_id))
    return None if row is None else StoredResult(*row)


async def fetch_attempts(connection: Connection, task_id: UUID, newest: int | None = None) -> list[Any] | None:
    """Return the attempts that did not complete by claim_no, all or the `newest` so many; None if the task is unknown."""
    rows = await connection.fetch(ATTEMPTS, task_id, newest)
    if not rows:
        return None
    return [row for row in reversed(rows) if row["claim_no"] is not None]


async def fetch_page(session: AsyncSession, query: TaskQuery, *, limit: int, offset: int) -> tuple[list[Any], int]:
    """Return up to `limit` rows from `offset` on, newest first, without args and meta, and the capped total.

    Both come from one statement, so one snapshot. The total counts to TOTAL_EXACT_MAX + 1 and no further.
    """
    page = _rows(query, limit=limit, offset=offset).subquery("page")
    total = _count(query, c.TOTAL_EXACT_MAX + 1).scalar_subquery().label("total")
    one = select(literal(1).label("one")).subquery("one")
    # 外连接：页为空时仍得到总数
    statement = select(total, page).select_from(one.outerjoin(page, true())).order_by(page.c.id.desc())
    found = (await session.execute(statement)).mappings().all()
    return [row for row in found if row["id"] is not None], int(found[0]["total"])


async def fetch_after(session: AsyncSession, query: TaskQuery, *, limit: int) -> list[Any]:
    """Return up to `limit` rows below the keyset, newest first, without args and meta."""
    return list((await session.execute(_rows(query, limit=limit, offset=0))).mappings().all())


@asynccontextmanager
async def bounded(session: AsyncSession) -> AsyncIterator[None]:
    """Limit the statements of this transaction in time, so that a broad filter cannot hold a connection.

    Raises InputError INVALID_REQUEST if the limit ended one: then the filter is too broad. A statement that somebody else
    ended, or that waited for a lock, raises the driver's error.
    """
    limits = {"limit": f"{sc.LIST_TIMEOUT_S}s", "lock": sc.LIST_LOCK_TIMEOUT}
    await session.execute(
        text("select set_config('statement_timeout', :limit, true), set_config('lock_timeout', :lock, true)"), limits
    )
    began = time.monotonic()
    try:
        yield
    except DBAPIError as error:
        cancelled = getattr(error.orig, "sqlstate", None) == CANCELLED
        # 状态码分不清是谁中止的，时间分得清
        if cancelled and time.monotonic() - began >= sc.LIST_TIMEOUT_S * _SURELY_OURS:
            reason = reasons.TOO_BROAD(limit=f"{sc.LIST_TIMEOUT_S} s")
            raise InputError(Code.INVALID_REQUEST, field="query", reason=reason) from error
        raise


def _rows(query: TaskQuery, *, limit: int, offset: int) -> Select[Any]:
    # 每个分支按主键倒序各取够一页，再合并：不排序整张表
    inner = [branch.order_by(text("id desc")).limit(limit + offset).subquery() for branch in _branches(query, _LIST)]
    both = union_all(*(select(part) for part in inner)).subquery("both")
    return select(both).order_by(both.c.id.desc()).limit(limit).offset(offset)


def _count(query: TaskQuery, limit: int) -> Select[Any]:
    inner = [branch.limit(limit).subquery() for branch in _branches(query, [])]
    both = union_all(*(select(part) for part in inner)).limit(limit).subquery("counted")
    return select(func.count()).select_from(both)


def _branches(query: TaskQuery, columns: Sequence[str]) -> list[Select[Any]]:
    wanted = query.states or LIVE | FINAL
    branches: list[Select[Any]] = []
    if wanted & LIVE:
        finished = cast(null(), DateTime(timezone=True)).label("finished_at")
        branches.append(_branch(Task, query, columns, finished, wanted & LIVE, LIVE))
    if wanted & FINAL:
        branches.append(_branch(TaskHistory, query, columns, TaskHistory.finished_at, wanted & FINAL, FINAL))
    return branches


def _branch(
    model: type[Task | TaskHistory],
    query: TaskQuery,
    columns: Sequence[str],
    finished_at: Any,
    states: frozenset[State],
    possible: frozenset[State],
) -> Select[Any]:
    chosen = [
        func.least(model.run_at, literal(_READABLE, DateTime(timezone=True))).label(name)
        if name == "run_at"
        else getattr(model, name)
        for name in columns
    ]
    branch: Any = select(*chosen, finished_at) if chosen else select(literal(1).label("one")).select_from(model)
    for condition in [*_conditions(model, query), *_finished(finished_at, query)]:
        branch = branch.where(condition)
    if states != possible:
        # 写成字面量：参数证明不了部分索引 task_history_failed 的条件
        values = sorted(state.value for state in states)
        branch = branch.where(
            model.state.in_(bindparam("states", values, expanding=True, literal_execute=True, unique=True))
        )
    return branch


def _conditions(model: type[Task | TaskHistory], query: TaskQuery) -> list[ColumnElement[bool]]:
    given: list[tuple[Any, Callable[[Any], ColumnElement[bool]]]] = [
        (query.queue, lambda value: model.queue == value),
        (query.kind, lambda value: model.kind == value),
        (query.tag, lambda value: model.tags.contains(cast([value], ARRAY(Text)))),
        (query.schedule_id, lambda value: model.schedule_id == value),
        (query.created_after, lambda value: model.created_at >= value),
        (query.created_after, lambda value: model.id >= _first_id(value, -_CLOCK_MARGIN_S)),
        (query.created_before, lambda value: model.created_at < value),
        (query.created_before, lambda value: model.id < _first_id(value, _CLOCK_MARGIN_S)),
        (query.started_after, lambda value: model.started_at >= value),
        (query.started_before, lambda value: model.started_at < value),
        (query.before, lambda value: model.id < value),
        (query.ids, lambda value: model.id.in_(sorted(value))),
    ]
    return [condition(value) for value, condition in given if value is not None]


def _finished(finished_at: Any, query: TaskQuery) -> list[ColumnElement[bool]]:
    """按完成的时刻：历史分区只看用得着的那几天，活的任务没有这个时刻。"""
    after, before = query.finished_after, query.finished_before
    return ([] if after is None else [finished_at >= after]) + ([] if before is None else [finished_at < before])


def _first_id(moment: datetime, margin_s: float) -> UUID:
    """该毫秒最小的 UUIDv7：让时间条件也能用上主键。"""
    milliseconds = int((moment.timestamp() + margin_s) * 1000)
    return UUID(int=max(0, min(milliseconds, (1 << _ID_TIME_BITS) - 1)) << _ID_REST_BITS)
