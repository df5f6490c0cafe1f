"""What the auditor compares: rows that believe in a ticket, and the streams; consumers, and workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from taskmill.states import State
from taskmill.stores.database import Queryable
from taskmill.stores.tasks.history import state_in

FOREVER_MS = 32_503_680_000_000  # 公元 3000 年：比任何时刻都晚，而 PostgreSQL 还能表示

# 每条道最老的票据时间，与有没有将来的票（数据库的时钟退过）；沿 tasks_available 索引逐道跳，通常一行也没有
OLDEST = """
with recursive lanes as (
  (select queue, priority, ticket_at from taskmill.tasks
   where state = 'available' order by queue, priority, ticket_at limit 1)
  union all
  select n.queue, n.priority, n.ticket_at from lanes l cross join lateral (
    select queue, priority, ticket_at from taskmill.tasks
    where state = 'available' and (queue, priority) > (l.queue, l.priority)
    order by queue, priority, ticket_at limit 1) n
)
select queue, priority, (extract(epoch from now()) * 1000)::bigint as now_ms,
       (extract(epoch from ticket_at) * 1000)::bigint as oldest_ms, ahead from lanes l cross join lateral (
  select exists (select from taskmill.tasks t where t.state = 'available' and t.queue = l.queue
                 and t.priority = l.priority and t.ticket_at > now() + $1 * interval '1 second') as ahead) a
where ahead or ticket_at < now() - $1 * interval '1 second'
"""
# 不变量 5：丢了票的行标成无票，由 stager 重发
LOST = f"""
with lost as materialized (
  select id from taskmill.tasks
  where state = 'available' and queue = $1 and priority = $2
    and ticket_at > to_timestamp($3::float8 / 1000) and ticket_at < to_timestamp($4::float8 / 1000)
  order by ticket_at limit $5 for update skip locked
)
update taskmill.tasks t set ticket_at = null, updated_at = now()
from lost where t.id = any (array[lost.id]) and {state_in([State.AVAILABLE])}
  and t.ticket_at > to_timestamp($3::float8 / 1000) and t.ticket_at < to_timestamp($4::float8 / 1000)
returning t.id
"""
SERVED = "select distinct unnest(queues) as name from taskmill.workers order by name"
ALIVE = "select id from taskmill.workers where id = any ($1::uuid[]) and dead_at is null"


@dataclass(frozen=True, slots=True)
class AgedLane:
    """A lane to look at: PostgreSQL's time and that of its oldest ticket in ms, and whether some is dated after now (`ahead`)."""

    queue: str
    priority: int
    now_ms: int
    oldest_ms: int
    ahead: bool


def lost_spans(lane: AgedLane, head_ms: int | None, margin_ms: int) -> list[tuple[int, int]]:
    """Return the spans of ticket times (after, before; ms) that the stream cannot hold any more.

    A stream is in the order of ticket times. Times in the future date from before PostgreSQL's clock stepped back, so
    they come before all others: while such a ticket is at the head, every ticket of today is behind it and not lost.
    """
    soon = lane.now_ms + margin_ms
    if head_ms is not None and head_ms > soon:
        return [(soon, head_ms - margin_ms)]
    before = (lane.now_ms if head_ms is None else min(head_ms, lane.now_ms)) - margin_ms
    # 最老的也不比流头早：没有丢的，不必为它问一遍 PostgreSQL。积压着的道成千上万，正常时都是如此
    return ([(0, before)] if lane.oldest_ms < before else []) + ([(soon, FOREVER_MS)] if lane.ahead else [])


async def aged_lanes(connection: Queryable, margin_s: float) -> list[AgedLane]:
    """Return lanes with a ticket that is older than `margin_s` seconds, or that far in the future."""
    rows = await connection.fetch(OLDEST, margin_s)
    return [AgedLane(row["queue"], row["priority"], row["now_ms"], row["oldest_ms"], row["ahead"]) for row in rows]


async def forget_lost(connection: Queryable, queue: str, priority: int, after_ms: int, before_ms: int, limit: int) -> int:
    """Mark available rows whose ticket's time is between the two as unticketed; returns how many."""
    return len(await connection.fetch(LOST, queue, priority, float(after_ms), float(before_ms), limit))


async def served_queues(connection: Queryable) -> list[str]:
    """Return the queues that workers serve or, until their rows go, served."""
    return [row["name"] for row in await connection.fetch(SERVED)]


async def alive(connection: Queryable, workers: Sequence[UUID]) -> set[UUID]:
    """Return those of `workers` that are not dead."""
    return {row["id"] for row in await connection.fetch(ALIVE, workers)}
