"""Cancel and manual retry of one task, in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from taskmill.models import Task, TaskHistory
from taskmill.states import State
from taskmill.stores import rollup
from taskmill.stores.database import Connection

REOPENED = "reopened"
_COLUMNS = [column.name for column in TaskHistory.__table__.columns]
_TASK_COLUMNS = [column.name for column in Task.__table__.columns]
_CANCELLED = {
    "state": "'cancelled'",
    "result": "null::jsonb",
    "ticket_at": "null::timestamptz",
    "cancel_requested_at": "coalesce(t.cancel_requested_at, now())",
    "finished_at": "clock_timestamp()",
    "updated_at": "clock_timestamp()",
}
# 重来：预算清零，claim_no 不动（它是栅栏），其余运行痕迹清空
_REOPENED = {
    "state": "'available'",
    "attempt": "0",
    "crash_count": "0",
    "run_at": "now()",
    "updated_at": "clock_timestamp()",
    **dict.fromkeys(("expires_at", "ticket_at", "deadline_at", "started_at", "cancel_requested_at"), "null::timestamptz"),
    "worker_id": "null::uuid",
    "error": "null::jsonb",
}

LOCK = "select state, worker_id from taskmill.tasks where id = $1 for update"
# 转移 cancel：等待 → cancelled，同一条语句移入历史
CANCEL_WAITING = f"""
with d as (
  delete from taskmill.tasks t where t.id = $1 and coalesce(t.state, '') in ('scheduled', 'available', 'retryable')
  returning {", ".join(f"{_CANCELLED.get(name, 't.' + name)} as {name}" for name in _COLUMNS)}
)
insert into taskmill.task_history ({", ".join(_COLUMNS)}) select {", ".join(_COLUMNS)} from d
returning queue, kind
"""  # noqa: S608 - 列名来自模型，不含输入
# 运行中：只记下请求，由结算或救援者了结
REQUEST_CANCEL = """
update taskmill.tasks
set cancel_requested_at = coalesce(cancel_requested_at, now()), updated_at = clock_timestamp()
where id = $1 and coalesce(state, '') = 'running'
"""
# 转移 retry：终态 → available
REOPEN = f"""
with d as (
  delete from taskmill.task_history t where t.id = $1
  returning {", ".join(f"{_REOPENED.get(name, 't.' + name)} as {name}" for name in _TASK_COLUMNS)}
)
insert into taskmill.tasks ({", ".join(_TASK_COLUMNS)}) select {", ".join(_TASK_COLUMNS)} from d
returning queue, kind
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Locked:
    """A live row that this transaction holds."""

    state: State
    worker_id: UUID | None


async def lock(connection: Connection, task_id: UUID) -> Locked | None:
    """Lock the live row of a task; None if it is not live."""
    row = await connection.fetchrow(LOCK, task_id)
    return None if row is None else Locked(State(row["state"]), row["worker_id"])


async def cancel_waiting(connection: Connection, task_id: UUID, writer: UUID) -> bool:
    """Move a waiting task to history as cancelled and count it; False if it does not wait."""
    return await _counted(connection, CANCEL_WAITING, task_id, State.CANCELLED, writer)


async def request_cancel(connection: Connection, task_id: UUID) -> None:
    """Note that the worker of a running task shall cancel it."""
    await connection.execute(REQUEST_CANCEL, task_id)


async def reopen(connection: Connection, task_id: UUID, writer: UUID) -> bool:
    """Bring a final task back as available and count it; False if it is not in history."""
    return await _counted(connection, REOPEN, task_id, REOPENED, writer)


async def _counted(connection: Connection, statement: str, task_id: UUID, outcome: str, writer: UUID) -> bool:
    row = await connection.fetchrow(statement, task_id)
    if row is None:
        return False
    await rollup.add(connection, row["queue"], row["kind"], outcome, writer)
    return True
