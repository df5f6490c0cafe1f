"""What the stager does to rows: due tasks become available, unticketed rows get tickets, expired ones end."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from taskmill.models import TaskHistory
from taskmill.stores.database import Queryable
from taskmill.stores.tickets import Ticket

# 转移 stage：scheduled / retryable → available；票由补票步骤给
DUE = """
with due as materialized (
  select id from taskmill.tasks
  where state in ('scheduled', 'retryable') and run_at <= now()
  order by run_at limit $1 for update skip locked
)
update taskmill.tasks t set state = 'available', ticket_at = null, updated_at = now()
from due where t.id = due.id and coalesce(t.state, '') in ('scheduled', 'retryable')
returning t.id
"""
# 有无票行的 (队列, 优先级)：索引通常是空的，一次扫描即可知道；暂停的队列不补
LANES = """
with recursive lanes as (
  (select queue, priority from taskmill.tasks
   where state = 'available' and ticket_at is null order by queue, priority limit 1)
  union all
  select n.queue, n.priority from lanes l cross join lateral (
    select queue, priority from taskmill.tasks
    where state = 'available' and ticket_at is null and (queue, priority) > (l.queue, l.priority)
    order by queue, priority limit 1) n
)
select l.queue, l.priority from lanes l
where not exists (select from taskmill.queues q where q.name = l.queue and q.paused_at is not null)
"""
FEED = """
with next as materialized (
  select id from taskmill.tasks
  where state = 'available' and ticket_at is null and queue = $1 and priority = $2
  order by id limit $3 for update skip locked
)
update taskmill.tasks t
set ticket_at = to_timestamp(floor(extract(epoch from now()) * 1000) / 1000.0)
from next where t.id = next.id and coalesce(t.state, 'available') = 'available'
returning t.id, t.claim_no, (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms
"""
# 纪元开始之前的票算没有票：流被清空过。纪元在将来，就是数据库的时钟退过：比现在晚的票是退之前的，
# 比现在早的是退之后的，在纪元之后；重发的记为现在，下一轮不会再中
STALE = """
with old as materialized (
  select id from taskmill.tasks
  where state = 'available' and queue = $1 and priority = $2 and ticket_at < to_timestamp($3::float8 / 1000)
    and (to_timestamp($3::float8 / 1000) <= now() or ticket_at > now())
  order by ticket_at limit $4 for update skip locked
)
update taskmill.tasks t
set ticket_at = to_timestamp(floor(extract(epoch from now()) * 1000) / 1000.0)
from old where t.id = old.id and coalesce(t.state, 'available') = 'available'
returning t.id, t.claim_no, (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms
"""
UNTICKET = """
update taskmill.tasks t set ticket_at = null
from unnest($1::uuid[], $2::int[]) as u(id, claim_no)
where t.id = u.id and t.claim_no = u.claim_no and coalesce(t.state, 'available') = 'available'
"""
_COLUMNS = [column.name for column in TaskHistory.__table__.columns]
_SET = {
    "state": "'discarded'",
    "claim_no": "t.claim_no + 1",
    "result": "null::jsonb",
    "error": "jsonb_build_object('type', 'Expired', 'message', 'expires_at passed / 已过期')",
    "ticket_at": "null::timestamptz",
    "finished_at": "clock_timestamp()",
    "updated_at": "clock_timestamp()",
}
# 转移 expire：等待态 → discarded，移入历史、记一次尝试、计数
EXPIRE = f"""
with old as materialized (
  select id from taskmill.tasks
  where expires_at is not null and state <> 'running' and expires_at <= now()
  order by expires_at limit $1 for update skip locked
), d as (
  delete from taskmill.tasks t using old
  where t.id = old.id and coalesce(t.state, '') <> 'running'
  returning {", ".join(f"{_SET.get(name, 't.' + name)} as {name}" for name in _COLUMNS)}
), h as (
  insert into taskmill.task_history ({", ".join(_COLUMNS)}) select {", ".join(_COLUMNS)} from d
), a as (
  insert into taskmill.task_attempts (task_id, claim_no, attempt, cause, message, finished_at)
  select id, claim_no, attempt, 'expired', 'expires_at passed / 已过期', finished_at from d on conflict do nothing
), r as (
  insert into taskmill.rollups as r (minute, queue, kind, outcome, writer, n)
  select date_trunc('minute', now()), queue, kind, state, $2::uuid, count(*) from d
  group by queue, kind, state order by queue, kind, state
  on conflict (minute, queue, kind, outcome, writer) do update set n = r.n + excluded.n
)
select id from d
"""


async def stage_due(connection: Queryable, limit: int) -> int:
    """Make due tasks available; returns how many."""
    return len(await connection.fetch(DUE, limit))


async def unticketed_lanes(connection: Queryable) -> list[tuple[str, int]]:
    """Return the (queue, priority) pairs, paused queues left out, that have rows without a ticket."""
    return [(row["queue"], row["priority"]) for row in await connection.fetch(LANES)]


async def feed(connection: Queryable, queue: str, priority: int, limit: int) -> list[Ticket]:
    """Mark the oldest unticketed rows as ticketed and return their tickets, to be sent after the commit."""
    rows = await connection.fetch(FEED, queue, priority, limit)
    return sorted((Ticket(row["id"], row["claim_no"], row["at_ms"]) for row in rows), key=lambda t: t.id)


async def feed_stale(connection: Queryable, queue: str, priority: int, epoch_ms: int, limit: int) -> list[Ticket]:
    """The same for rows whose ticket is older than the epoch of the streams."""
    rows = await connection.fetch(STALE, queue, priority, float(epoch_ms), limit)
    return sorted((Ticket(row["id"], row["claim_no"], row["at_ms"]) for row in rows), key=lambda t: t.id)


async def unticket(connection: Queryable, tickets: Sequence[tuple[UUID, int]]) -> None:
    """Say that these rows (id, claim_no) have no ticket; the stager will make one."""
    ordered = sorted(tickets)
    await connection.execute(UNTICKET, [t[0] for t in ordered], [t[1] for t in ordered])


async def expire(connection: Queryable, limit: int, writer: UUID) -> int:
    """Discard waiting tasks whose expires_at has passed; returns how many."""
    return len(await connection.fetch(EXPIRE, limit, writer))


async def queue_states(connection: Queryable) -> dict[str, bool]:
    """Return every queue's name and whether it is paused, sorted."""
    rows = await connection.fetch("select name, paused_at is not null as paused from taskmill.queues order by name")
    return {row["name"]: row["paused"] for row in rows}


async def now_ms(connection: Queryable) -> int:
    """Return PostgreSQL's time in milliseconds."""
    row = await connection.fetch("select (extract(epoch from now()) * 1000)::bigint as ms")
    return row[0]["ms"]


async def try_lock(connection: Queryable, key: int) -> bool:
    """Take an advisory lock that ends with the transaction; False if another holds it."""
    return bool(await connection.fetchval("select pg_try_advisory_xact_lock($1)", key))
