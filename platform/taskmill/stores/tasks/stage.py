"""What the stager does to rows: due tasks become available, unticketed rows get tickets, expired ones end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from taskmill import constants as c
from taskmill import reasons
from taskmill.models.task import TICKETLESS
from taskmill.states import By, State, sources
from taskmill.stores.arrays import Fence, fence_arrays
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import Ticket
from taskmill.stores.database import Connection, Queryable, Record
from taskmill.stores.tasks.history import NOW_MS, counted, counts, ended, into_history, state_in
from taskmill.stores.tasks.order.follow import FACTS, ended_of, follow
from taskmill.stores.tasks.order.release import LetGo

# 最早到期的、过期的，各在何时：从那里起才有，之前只有死了的项
OVERDUE = """
select (select run_at from taskmill.tasks where state in ('scheduled', 'retryable') and run_at <= now() order by run_at limit 1) as due,
       (select expires_at from taskmill.tasks where expires_at is not null and state <> 'running' and expires_at <= now()
        order by expires_at limit 1) as expired
"""
# 别人开着的事务拦着清理的时候，索引里尽是死了的项，从头看一遍要走过它们：只看最近的，见 ADR 36。
# 参数：上一眼看到的，见 LANES_LATELY 与 _look
_LATELY = f"now() - interval '{c.LOOK_LATELY_S} seconds'"
_LATELY_ID = f"(lpad(to_hex((extract(epoch from {_LATELY}) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid"
OVERDUE_LATELY = f"""
select (select run_at from taskmill.tasks
        where state in ('scheduled', 'retryable') and run_at <= now() and run_at >= least($4::timestamptz, {_LATELY})
        order by run_at limit 1) as due,
       (select expires_at from taskmill.tasks
        where expires_at is not null and state <> 'running' and expires_at <= now() and expires_at >= least($5::timestamptz, {_LATELY})
        order by expires_at limit 1) as expired
"""
# 转移 stage：scheduled / retryable → available；票由补票步骤给
DUE = f"""
with due as materialized (
  select id from taskmill.tasks
  where state in ('scheduled', 'retryable') and run_at <= now() and run_at >= $2
  order by run_at limit $1 for update skip locked
)
update taskmill.tasks t set state = 'available', ticket_at = null, updated_at = now()
from due where t.id = any (array[due.id]) and {state_in(sources(By.STAGE))}
returning t.queue, t.priority, t.id
"""
# 有无票行的 (队列, 优先级)，和其中最早的一行：索引通常是空的，一次扫描即可知道；暂停的队列不补。
# 有上限的队列里，以及有公平键而还没排进去的，也在索引里：排进去是放行者的事，补票的跳过它们
LANES = f"""
with recursive lanes as (
  (select queue, priority, id from taskmill.tasks
   where {TICKETLESS} order by queue, priority, id limit 1)
  union all
  select n.queue, n.priority, n.id from lanes l cross join lateral (
    select queue, priority, id from taskmill.tasks
    where {TICKETLESS} and (queue, priority) > (l.queue, l.priority)
    order by queue, priority, id limit 1) n
)
select l.queue, l.priority, l.id from lanes l
where not exists (select from taskmill.queues q where q.name = l.queue and q.paused_at is not null)
"""
# 只看最近的：每条道从上一眼最早的那一行起，上一眼没有的，从刚才起。参数：上一眼的道，各自最早的一行
LANES_LATELY = f"""
select q.name as queue, p.priority, n.id
from taskmill.queues q cross join unnest(array{list(c.PRIORITIES)}::smallint[]) as p(priority)
left join unnest($1::text[], $2::smallint[], $3::uuid[]) as k(queue, priority, first) on k.queue = q.name and k.priority = p.priority
cross join lateral (
  select id from taskmill.tasks
  where {TICKETLESS} and queue = q.name and priority = p.priority and id >= least(k.first, {_LATELY_ID})
  order by id limit 1) n
where q.paused_at is null
"""


def _look(overdue: str, lanes: str) -> str:
    """闲的时候一轮只问这一句：有没有到期的、过期的，哪些道有无票行。"""
    return f"""
select o.due, o.expired, l.queues, l.priorities, l.firsts from ({overdue}) o cross join (
  select array_agg(n.queue) as queues, array_agg(n.priority) as priorities, array_agg(n.id) as firsts from ({lanes}) n) l
"""


LOOK = _look(OVERDUE, LANES)
LOOK_LATELY = _look(OVERDUE_LATELY, LANES_LATELY)
# 各道最老的一张票：沿 tasks_available 逐道跳；暂停的队列不补票
AVAILABLE = """
with recursive lanes as (
  (select queue, priority, ticket_at from taskmill.tasks
   where state = 'available' order by queue, priority, ticket_at limit 1)
  union all
  select n.queue, n.priority, n.ticket_at from lanes l cross join lateral (
    select queue, priority, ticket_at from taskmill.tasks
    where state = 'available' and (queue, priority) > (l.queue, l.priority)
    order by queue, priority, ticket_at limit 1) n
)
select l.queue, l.priority, (extract(epoch from l.ticket_at) * 1000)::bigint as oldest_ms from lanes l
where l.ticket_at is not null
  and not exists (select from taskmill.queues q where q.name = l.queue and q.paused_at is not null)
"""
# 参数：队列、优先级、各道至多几行、从哪一行起：之前的都有票了，只剩死了的项
FEED = f"""
with next as materialized (
  select n.id from unnest($1::text[], $2::smallint[], $3::int[], $4::uuid[]) as l(queue, priority, room, first)
  left join taskmill.queues q on q.name = l.queue
  cross join lateral (
    select id from taskmill.tasks
    where {TICKETLESS} and queue = l.queue and priority = l.priority and id >= l.first and (slot = 2 or (q.limited is not true and fairness_key is null))
    order by id limit l.room for update skip locked) n
)
update taskmill.tasks t
set ticket_at = {NOW_MS}
from next where t.id = any (array[next.id]) and {state_in([State.AVAILABLE])}
returning t.queue, t.priority, t.id, t.claim_no, (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms
"""
# 纪元开始之前的票算没有票：流被清空过。纪元在将来，就是数据库的时钟退过：比现在晚的票是退之前的，
# 比现在早的是退之后的，在纪元之后；重发的记为现在，下一轮不会再中
STALE = f"""
with old as materialized (
  select o.id from unnest($1::text[], $2::smallint[], $3::int[], $4::float8[]) as l(queue, priority, room, begun)
  cross join lateral (
    select id from taskmill.tasks
    where state = 'available' and queue = l.queue and priority = l.priority and ticket_at < to_timestamp(l.begun / 1000)
      and (to_timestamp(l.begun / 1000) <= now() or ticket_at > now())
    order by ticket_at limit l.room for update skip locked) o
)
update taskmill.tasks t
set ticket_at = {NOW_MS}
from old where t.id = any (array[old.id]) and {state_in([State.AVAILABLE])}
returning t.queue, t.priority, t.id, t.claim_no, (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms
"""
# 别人锁着的跳过：它的票没了，由审计者找回
UNTICKET = f"""
with free as materialized (
  select t.id from unnest($1::uuid[], $2::int[]) as u(id, claim_no)
  join taskmill.tasks t on t.id = any (array[u.id]) and t.claim_no = u.claim_no and {state_in([State.AVAILABLE])}
  for update of t skip locked
)
update taskmill.tasks t set ticket_at = null from free where t.id = any (array[free.id])
"""
_SET = {
    "state": "'discarded'",
    "claim_no": "t.claim_no + 1",
    "result": "null::jsonb",
    "error": f"jsonb_build_object('type', 'Expired', 'message', '{reasons.EXPIRED.en}', 'message_zh', '{reasons.EXPIRED.zh}')",
}
# 转移 expire：等待态 → discarded，移入历史、记一次尝试、计数
EXPIRE = f"""
with old as materialized (
  select id from taskmill.tasks
  where expires_at is not null and state <> 'running' and expires_at <= now() and expires_at >= $3
  order by expires_at limit $1 for update skip locked
), d as (
  delete from taskmill.tasks t using old
  where t.id = any (array[old.id]) and {state_in(sources(By.EXPIRE))}
  returning {ended(_SET)}, t.followed, t.state = 'blocked' as blocked
), h as (
  {into_history("d")}
), a as (
  insert into taskmill.task_attempts (task_id, claim_no, attempt, cause, message, message_zh, finished_at)
  select id, claim_no, attempt, 'expired', '{reasons.EXPIRED.en}', '{reasons.EXPIRED.zh}', finished_at from d on conflict do nothing
), r as (
  {counted(counts("d", "state", "$2"))}
)
select id, kind, queue, attempt, state, blocked, {FACTS} from d
"""


async def stage_due(connection: Queryable, limit: int, since: datetime) -> list[tuple[Lane, UUID]]:
    """Make tasks available that are due, and have been so since then at most; returns the lane and the id of each."""
    return [((queue, priority), id_) for queue, priority, id_ in await connection.fetch(DUE, limit, since)]


async def ticketed_lanes(connection: Queryable) -> dict[Lane, int]:
    """Return the lanes, those of paused queues left out, that have ticketed rows, with the oldest ticket's time in ms."""
    return {(row["queue"], row["priority"]): row["oldest_ms"] for row in await connection.fetch(AVAILABLE)}


async def feed(connection: Queryable, rooms: Mapping[Lane, int], firsts: Mapping[Lane, UUID]) -> dict[Lane, list[Ticket]]:
    """Mark the oldest unticketed rows of each lane, beginning with its first, at most as many as it has room for, as ticketed.

    Returns their tickets in the order of their ids, to be sent after the commit.
    """
    return _by_lane(await connection.fetch(FEED, *_columns(rooms), [firsts[lane] for lane in sorted(rooms)]))


async def feed_stale(
    connection: Queryable, rooms: Mapping[Lane, int], begun: Mapping[Lane, int]
) -> dict[Lane, list[Ticket]]:
    """The same for rows whose ticket is older than `begun`, the epoch of their streams in ms."""
    return _by_lane(await connection.fetch(STALE, *_columns(rooms), [float(begun[lane]) for lane in sorted(rooms)]))


def _columns(rooms: Mapping[Lane, int]) -> list[list[Any]]:
    ordered = sorted(rooms)
    return [[queue for queue, _ in ordered], [priority for _, priority in ordered], [rooms[lane] for lane in ordered]]


def _by_lane(rows: Sequence[Record]) -> dict[Lane, list[Ticket]]:
    found: dict[Lane, list[Ticket]] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        found.setdefault((row["queue"], row["priority"]), []).append(Ticket(row["id"], row["claim_no"], row["at_ms"]))
    return found


async def unticket(connection: Queryable, tickets: Sequence[Fence]) -> None:
    """Say that these rows (id, claim_no) have no ticket; the stager will make one.

    Rows that somebody else has locked are left out: the auditor finds that their ticket is lost.
    """
    await connection.execute(UNTICKET, *fence_arrays(tickets))


async def expire(connection: Connection, limit: int, writer: UUID, since: datetime) -> tuple[list[Record], LetGo]:
    """Discard waiting tasks whose expires_at has passed, since then at the earliest; returns id, kind, queue and attempt of each, and what that let go."""
    rows = await connection.fetch(EXPIRE, limit, writer, since)
    ended_tasks = [ended_of(row, row["state"], blocked=row["blocked"]) for row in rows]
    return rows, await follow(connection, ended_tasks, writer)


async def queue_states(connection: Queryable) -> dict[str, bool]:
    """Return every queue's name and whether it is paused, sorted."""
    rows = await connection.fetch("select name, paused_at is not null as paused from taskmill.queues order by name")
    return {row["name"]: row["paused"] for row in rows}


async def paused_among(connection: Queryable, names: Iterable[str]) -> set[str]:
    """Return those of the queues that are paused."""
    rows = await connection.fetch(
        "select name from taskmill.queues where name = any ($1::text[]) and paused_at is not null", sorted(names)
    )
    return {row["name"] for row in rows}


async def now_ms(connection: Queryable) -> int:
    """Return PostgreSQL's time in milliseconds."""
    row = await connection.fetch("select (extract(epoch from now()) * 1000)::bigint as ms")
    return row[0]["ms"]


async def try_lock(connection: Queryable, key: int) -> bool:
    """Take an advisory lock that ends with the transaction; False if another holds it."""
    return bool(await connection.fetchval("select pg_try_advisory_xact_lock($1)", key))
