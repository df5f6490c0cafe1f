"""Cancel and manual retry: the transitions that people ask for, each with its rollup in the same statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from taskmill.models.task import UNIQUE_HELD
from taskmill.states import By, State, sources
from taskmill.stores.database import UNIQUE_VIOLATION, Connection
from taskmill.stores.tasks.history import counted, counts, ended, into_history, into_live, state_in
from taskmill.stores.tasks.limits import Place
from taskmill.stores.tasks.order import sequences
from taskmill.stores.tasks.order.follow import FACTS, Ended, ended_of, follow
from taskmill.stores.tasks.order.release import LetGo, release


class KeyTakenError(Exception):
    """Another live task has the unique key of the task that shall come back."""

    def __init__(self, key: str, task_id: UUID | None) -> None:
        super().__init__(key)
        self.key, self.task_id = key, task_id


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What a cancel did: the state afterwards, the worker to be hinted if the task runs, where a slot became free, what it let go."""

    state: State
    worker_id: UUID | None
    place: Place | None = None
    let_go: LetGo = field(default_factory=LetGo)


@dataclass(frozen=True, slots=True)
class Reopened:
    """What a retry did: the state afterwards, and what it let go."""

    state: State
    let_go: LetGo


_CANCELLED = {
    "state": "'cancelled'",
    "cancel_requested_at": "coalesce(t.cancel_requested_at, clock_timestamp())",
    "result": "null::jsonb",
}
# 从历史回来：预算重新计，围栏 claim_no 只增不减
_REOPENED = {
    "state": "case when sequence_key is null then 'available' else 'blocked' end",
    "attempt": "0",
    "crash_count": "0",
    "run_at": "clock_timestamp()",
    "updated_at": "clock_timestamp()",
    **dict.fromkeys(("expires_at", "ticket_at", "deadline_at", "started_at", "cancel_requested_at"), "null::timestamptz"),
    "worker_id": "null::uuid",
    "slot": "null::smallint",
    "followed": "null::boolean",
    "error": "null::jsonb",
    # 只在等待时占的键，重试不再占
    "unique_key": "case when unique_while = 'live' then unique_key end",
}
LOCK = f"select id, state, queue, concurrency_key, slot, {FACTS} from taskmill.tasks where id = $1 for update"
# 转移 cancel：等待 → cancelled，同一条语句移入历史并计数；行已由 LOCK 锁住
CANCEL_WAITING = f"""
with d as (
  delete from taskmill.tasks t where t.id = $1 and {state_in(sources(By.CANCEL))} returning {ended(_CANCELLED)}
), moved as (
  {into_history("d")} returning queue, kind
), r as (
  {counted(counts("moved", "'cancelled'", "$2"))}
)
select count(*) from moved
"""
# 运行中：只留下请求，由结算或救援者了结
REQUEST_CANCEL = """
update taskmill.tasks set cancel_requested_at = coalesce(cancel_requested_at, now()), updated_at = now()
where id = $1 returning worker_id
"""
# 转移 retry：终态 → available；有序列的 → blocked，轮到它才放行，位置照旧。并发的第二次重试删不到行
REOPEN = f"""
with gone as (
  delete from taskmill.task_history where id = $1 returning *
), moved as (
  {into_live("gone", _REOPENED)} returning queue, kind
), r as (
  {counted(counts("moved", "'reopened'", "$2"))}
)
select state, sequence_key from gone
"""
KEY_HOLDER = f"""
select h.unique_key, holder.id from taskmill.task_history h left join lateral (
  select id from taskmill.tasks where unique_key = h.unique_key and {UNIQUE_HELD}) holder on true
where h.id = $1
"""
STATE = """
select state from taskmill.tasks where id = $1
union all
select state from taskmill.task_history where id = $1
"""


async def cancel(connection: Connection, task_id: UUID, writer: UUID) -> Cancelled | None:
    """End a waiting task or ask for the end of a running one; None if no live row has this id. Needs a transaction."""
    row = await connection.fetchrow(LOCK, task_id)
    if row is None:
        return None
    if row["state"] == State.RUNNING:
        return Cancelled(State.RUNNING, await connection.fetchval(REQUEST_CANCEL, task_id))
    await connection.execute(CANCEL_WAITING, task_id, writer)
    freed = None if row["slot"] is None else (row["queue"], row["concurrency_key"])
    ended = ended_of(row, State.CANCELLED, blocked=row["state"] == State.BLOCKED)
    return Cancelled(State.CANCELLED, None, freed, await follow(connection, [ended], writer))


async def reopen(connection: Connection, task_id: UUID, writer: UUID) -> Reopened | None:
    """Bring a final task back with fresh budgets; None if history does not have it. Needs a transaction.

    It is available, or has its old place in its sequence. Whoever was submitted to wait for it has seen its end, and need not
    wait again: so no circle can be made. KeyTakenError if another live task has its unique key: nothing is changed then.
    """
    try:
        async with connection.transaction():
            row = await connection.fetchrow(REOPEN, task_id, writer)
    except UNIQUE_VIOLATION:
        holder = await connection.fetchrow(KEY_HOLDER, task_id)
        raise KeyTakenError(*("?", None) if holder is None else (holder["unique_key"], holder["id"])) from None
    if row is None:
        return None
    let_go = await follow(connection, [Ended(task_id, row["state"], None, None, None, followed=True)], writer)
    if (key := row["sequence_key"]) is None:
        return Reopened(State.AVAILABLE, let_go)
    await sequences.known(connection, key)
    await sequences.go_on(connection, task_id)
    let_go.add(await release(connection, await sequences.advance(connection, [key])))
    return Reopened(State.AVAILABLE if task_id in let_go.ids else State.BLOCKED, let_go)


async def skip(connection: Connection, task_id: UUID) -> LetGo | None:
    """Let the sequence go on that this failed task stops; None if it stops none. Needs a transaction."""
    key = await sequences.go_on(connection, task_id)
    return None if key is None else await release(connection, await sequences.advance(connection, [key]))


async def state_of(connection: Connection, task_id: UUID) -> State | None:
    """Return the state of a task in one snapshot of both tables, None if it is unknown."""
    state = await connection.fetchval(STATE, task_id)
    return None if state is None else State(state)
