"""Reads of one task: each is one UNION ALL over live tasks and history, so that a row that moves is seen once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from taskmill.models.task import Task
from taskmill.stores.database import Connection, Queryable
from taskmill.stores.tasks.lists.statement import READABLE

_COLUMNS = [column.name for column in Task.__table__.columns if column.name not in {"slot", "followed"}]  # 只有活的任务才有
_NAMES = ", ".join(READABLE if name == "run_at" else name for name in _COLUMNS)

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
