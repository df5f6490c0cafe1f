"""Reads of tasks. Every one is a single statement over `tasks` and `task_history`: a row that moves is seen once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Subquery, func, literal, null, select, true, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill import constants as c
from taskmill.models import Task, TaskHistory
from taskmill.states import FINAL, LIVE, State
from taskmill.stores.database import Connection

_BY_ID_COLUMNS = [column.name for column in Task.__table__.columns]
_BY_ID = ", ".join(_BY_ID_COLUMNS)
BY_ID = f"""
select {_BY_ID}, null::jsonb as result, null::timestamptz as finished_at from taskmill.tasks where id = $1
union all
select {_BY_ID}, result, finished_at from taskmill.task_history where id = $1
"""  # noqa: S608 - 列名来自模型，不含输入
STATE = """
select state from taskmill.tasks where id = $1
union all
select state from taskmill.task_history where id = $1
"""
ATTEMPTS = """
select claim_no, attempt, cause, error_type, message, traceback, worker_id, started_at, finished_at
from taskmill.task_attempts where task_id = $1 order by claim_no desc limit $2
"""
# 列表不带 args、result：一百行各 256 KiB 会有 25 MB
_SUMMARY = (
    "id", "queue", "kind", "state", "priority", "tags", "attempt", "max_attempts", "run_at", "started_at",
    "schedule_id", "created_at", "cancel_requested_at",
)
# UUIDv7 由服务的时钟生成，created_at 由数据库的时钟生成；两者相差超过一天才会漏行
_CLOCK_MARGIN = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """What a list is narrowed to; None or empty: no condition."""

    queue: str | None = None
    states: frozenset[State] = frozenset()
    kind: str | None = None
    tag: str | None = None
    schedule_id: UUID | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class TaskPage:
    """Rows of one page (newest first) as mappings; `total` counts up to TOTAL_EXACT_MAX + 1, None with a cursor."""

    rows: Sequence[Any]
    total: int | None


async def by_id(connection: Connection, task_id: UUID) -> Any | None:
    """Return the whole row, jsonb as bytes, or None."""
    return await connection.fetchrow(BY_ID, task_id)


async def state_of(connection: Connection, task_id: UUID) -> State | None:
    """Return the state of a task, or None if there is no such task."""
    found = await connection.fetchval(STATE, task_id)
    return None if found is None else State(found)


async def attempts(connection: Connection, task_id: UUID, limit: int) -> list[Any]:
    """Return the latest attempts that did not complete, newest first."""
    return await connection.fetch(ATTEMPTS, task_id, limit)


async def page(session: AsyncSession, wanted: TaskFilter, *, size: int, offset: int) -> TaskPage:
    """Return at most `size` + 1 rows from `offset` on (the extra one says that there is more) and the total."""
    rows = _union(wanted, limit=offset + size + 1, before=None)
    window = select(rows).order_by(rows.c.id.desc()).offset(offset).limit(size + 1).subquery("page")
    total = select(func.count()).select_from(_count(wanted)).scalar_subquery()
    one = select(literal(1).label("one")).subquery("one")
    # 外连接：页为空时仍得到总数，且与页同属一个快照
    statement = select(total.label("total"), window).select_from(one.outerjoin(window, true()))
    found = (await session.execute(statement.order_by(window.c.id.desc()))).mappings().all()
    return TaskPage([row for row in found if row["id"] is not None], int(found[0]["total"]))


async def after(session: AsyncSession, wanted: TaskFilter, *, size: int, cursor: UUID) -> TaskPage:
    """Return at most `size` + 1 rows that follow the task `cursor`."""
    rows = _union(wanted, limit=size + 1, before=cursor)
    statement = select(rows).order_by(rows.c.id.desc()).limit(size + 1)
    return TaskPage((await session.execute(statement)).mappings().all(), None)


def _sides(wanted: TaskFilter) -> list[type[Task | TaskHistory]]:
    states = wanted.states or (LIVE | FINAL)
    sides: list[type[Task | TaskHistory]] = []
    if states & LIVE:
        sides.append(Task)
    if states & FINAL:
        sides.append(TaskHistory)
    return sides


def _union(wanted: TaskFilter, *, limit: int, before: UUID | None) -> Subquery:
    parts: list[Select[Any]] = []
    for table in _sides(wanted):
        finished = TaskHistory.finished_at if table is TaskHistory else null()
        columns = [*(getattr(table, name) for name in _SUMMARY), finished.label("finished_at")]
        part = select(*columns).where(*_conditions(table, wanted))
        if before is not None:
            part = part.where(table.id < before)
        parts.append(part.order_by(table.id.desc()).limit(limit))
    # 每一侧先按主键取够，再合并
    return union_all(*(select(part.subquery()) for part in parts)).subquery("rows")


def _count(wanted: TaskFilter) -> Subquery:
    parts = [select(literal(1).label("one")).where(*_conditions(table, wanted)).select_from(table) for table in _sides(wanted)]
    return select(union_all(*parts).subquery()).limit(c.TOTAL_EXACT_MAX + 1).subquery("counted")


def _conditions(table: type[Task | TaskHistory], wanted: TaskFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.queue is not None:
        found.append(table.queue == wanted.queue)
    if wanted.states:
        found.append(table.state.in_(sorted(wanted.states)))
    if wanted.kind is not None:
        found.append(table.kind == wanted.kind)
    if wanted.tag is not None:
        found.append(table.tags.contains([wanted.tag]))
    if wanted.schedule_id is not None:
        found.append(table.schedule_id == wanted.schedule_id)
    if wanted.created_after is not None:
        found += [table.created_at > wanted.created_after, table.id >= _first_id(wanted.created_after - _CLOCK_MARGIN)]
    if wanted.created_before is not None:
        found += [table.created_at < wanted.created_before, table.id <= _first_id(wanted.created_before + _CLOCK_MARGIN)]
    return found


def _first_id(moment: datetime) -> UUID:
    """该毫秒最小的 UUIDv7：让时间条件也能用上主键索引。"""
    return UUID(int=max(0, min(int(moment.timestamp() * 1000), 2**48 - 1)) << 80)
