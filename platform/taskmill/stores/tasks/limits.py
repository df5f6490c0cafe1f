"""Limits of queues: which held task may run next.

The slots are the rows themselves. In a queue with limits `slot` of an available task says how far it is: 0, its key is at
its limit (`max_running_per_key`); 1, the queue is (`max_running`, `rate`); 2, it may run, and does so until it leaves
`running`. A slot is given back by whatever ends or delays the task, since the row goes or its `slot` becomes null: none can
leak. Slots are given under a lock on the row of the queue, so that two who count never give the same one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

import msgspec

from taskmill.controls.rate import Rate
from taskmill.models.task import SLOTTED, SLOTTED_KEY, TICKETLESS
from taskmill.stores.broker.lanes import Lane
from taskmill.stores.broker.tickets import Ticket
from taskmill.stores.database import Connection, Queryable
from taskmill.stores.tasks.history import NOW_MS

Place = tuple[str, str | None]  # 队列与键；键为 None：只问队列
HELD_BY_KEY: Final = 0
HELD_BY_QUEUE: Final = 1
FREE: Final = 2

LIMITED = """
select name, limited, max_running_per_key is not null as keyed, max_backlog
from taskmill.queues where limited or max_backlog is not null
"""
# 暂停的队列不放行，恢复之后再来。在此之后才数：前一个放行的人提交了什么，下一条语句都看得到
LOCK = """
select name, max_running, max_running_per_key, rate from taskmill.queues
where name = any ($1::text[]) and limited and paused_at is null order by name for no key update
"""
# 转移不变，只是前进一步：键还有空位的，按优先级与先后
BY_KEY = f"""
with room as materialized (
  select u.queue, u.key, u.most - (
    select count(*) from taskmill.tasks t where t.queue = u.queue and t.concurrency_key = u.key and coalesce(t.slot, 0) >= 1 and {SLOTTED_KEY}) as n
  from unnest($1::text[], $2::text[], $3::int[]) as u(queue, key, most)
), next as materialized (
  select n.id from room r cross join lateral (
    select t.id from taskmill.tasks t where t.queue = r.queue and t.concurrency_key = r.key and t.slot = 0 and {SLOTTED_KEY}
    order by t.priority, t.id limit greatest(r.n, 0) for update skip locked) n
)
update taskmill.tasks t set slot = 1 from next where t.id = next.id and t.slot = 0 returning t.queue
"""
# 桶里现在有多少：没有桶就是满的；时钟退过也不会倒扣
BUCKETS = """
select u.queue,
       least(u.burst, coalesce(b.tokens + greatest(extract(epoch from clock_timestamp() - b.at), 0) * u.per_s, u.burst))::float8 as tokens
from unnest($1::text[], $2::float8[], $3::float8[]) as u(queue, burst, per_s)
left join taskmill.rate_buckets b on b.queue = u.queue
"""
SPEND = """
insert into taskmill.rate_buckets as b (queue, tokens, at)
select u.queue, u.tokens, clock_timestamp() from unnest($1::text[], $2::float8[]) as u(queue, tokens) order by 1
on conflict (queue) do update set tokens = excluded.tokens, at = excluded.at
"""
COUNTS = """
select u.queue, (select count(*) from taskmill.tasks t where t.queue = u.queue and t.slot = 2) as taken,
       (select count(*) from taskmill.tasks t where t.queue = u.queue and t.slot = 2 and t.state = 'available') as unclaimed
from unnest($1::text[]) as u(queue)
"""
BY_QUEUE = f"""
with next as materialized (
  select n.id from unnest($1::text[], $2::int[]) as u(queue, room) cross join lateral (
    select t.id from taskmill.tasks t where t.queue = u.queue and t.slot = 1 and {SLOTTED}
    order by t.priority, t.id limit u.room for update skip locked) n
)
update taskmill.tasks t set slot = 2, ticket_at = {NOW_MS}, updated_at = now() from next where t.id = next.id and t.slot = 1
returning t.queue, t.priority, t.id, t.claim_no, (extract(epoch from t.ticket_at) * 1000)::bigint as at_ms
"""
# 队列刚有了上限，或任务从别的状态回来：排进去，才轮得到
ENROL = f"""
with next as materialized (
  select n.id, case when q.max_running_per_key is not null and n.concurrency_key is not null then 0 else 1 end as slot
  from taskmill.queues q cross join lateral (
    select t.id, t.concurrency_key from taskmill.tasks t
    where {TICKETLESS} and t.queue = q.name and coalesce(t.slot, -1) = -1
    order by t.priority, t.id limit $1 for update skip locked) n
  where q.limited
)
update taskmill.tasks t set slot = next.slot from next where t.id = next.id and t.slot is null
returning t.queue, t.concurrency_key, t.slot
"""
# 上限取消了：挡着的都放开，票由 stager 补
RELEASE = f"""
with recursive by_key as (
  (select queue from taskmill.tasks where {SLOTTED_KEY} order by queue limit 1)
  union all
  select n.queue from by_key h cross join lateral (
    select queue from taskmill.tasks where {SLOTTED_KEY} and queue > h.queue order by queue limit 1) n
), by_queue as (
  (select queue from taskmill.tasks where {SLOTTED} order by queue limit 1)
  union all
  select n.queue from by_queue h cross join lateral (
    select queue from taskmill.tasks where {SLOTTED} and queue > h.queue order by queue limit 1) n
), next as materialized (
  (select n.id from by_key s cross join lateral (
    select t.id from taskmill.tasks t where t.queue = s.queue and t.slot = 0 and {SLOTTED_KEY}
    limit $1 for update skip locked) n
   where not exists (select from taskmill.queues q where q.name = s.queue and q.limited))
  union all
  (select n.id from by_queue s cross join lateral (
    select t.id from taskmill.tasks t where t.queue = s.queue and t.slot = 1 and {SLOTTED} limit $1 for update skip locked) n
   where not exists (select from taskmill.queues q where q.name = s.queue and q.limited))
)
update taskmill.tasks t set slot = null from next where t.id = next.id and t.slot in (0, 1) returning t.queue
"""
# 沿索引跳着找被挡的键，一次一段：$1、$2 是上一段的末尾
KEYS = f"""
with recursive held as (
  (select queue, concurrency_key, 1 as n from taskmill.tasks
   where slot = 0 and {SLOTTED_KEY} and (queue, concurrency_key) > ($1, $2)
   order by queue, concurrency_key limit 1)
  union all
  select x.queue, x.concurrency_key, h.n + 1 from held h cross join lateral (
    select queue, concurrency_key from taskmill.tasks
    where slot = 0 and {SLOTTED_KEY} and (queue, concurrency_key) > (h.queue, h.concurrency_key)
    order by queue, concurrency_key limit 1) x
  where h.n < $3
)
select queue, concurrency_key from held
"""
QUEUES = """
with recursive held as (
  (select queue from taskmill.tasks where slot = 1 order by queue limit 1)
  union all
  select x.queue from held h cross join lateral (
    select queue from taskmill.tasks where slot = 1 and queue > h.queue order by queue limit 1) x
)
select queue from held
"""


# 有上限之前就在跑的，也占着空位
ADOPT = """
update taskmill.tasks t set slot = 2
from taskmill.queues q where q.name = t.queue and q.limited and t.state = 'running' and t.slot is null
returning t.queue
"""
BACKLOG = """
select u.queue, (select count(*) from (
  select from taskmill.tasks t where t.queue = u.queue and t.state = 'available' limit u.most) w) as waiting
from unnest($1::text[], $2::int[]) as u(queue, most)
"""
CLOSE = "select name from taskmill.queues where name = any ($1::text[]) order by name for no key update"


@dataclass(frozen=True, slots=True)
class Sort:
    """What a submit has to know of a queue: whether its tasks line up, also by key, and how many may wait."""

    limited: bool
    keyed: bool
    max_backlog: int | None


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a queue, None where there is none."""

    queue: str
    max_running: int | None
    max_running_per_key: int | None
    rate: Rate | None


@dataclass(frozen=True, slots=True)
class Given:
    """What a round gave: tickets to be sent after the commit, and for each queue whose bucket is empty when it has a token, in s."""

    tickets: Mapping[Lane, list[Ticket]]
    refill_s: Mapping[str, float]


async def limited(connection: Queryable) -> dict[str, Sort]:
    """Return the queues that have some limit."""
    return {row["name"]: Sort(row["limited"], row["keyed"], row["max_backlog"]) for row in await connection.fetch(LIMITED)}


async def give(connection: Connection, places: Iterable[Place], most: int) -> Given:
    """Give the free slots of the queues and keys of `places` to their next tasks, at most `most` a queue, in a transaction."""
    wanted = sorted(places, key=lambda place: (place[0], place[1] or ""))
    found = {limits.queue: limits for limits in await _lock(connection, sorted({queue for queue, _ in wanted}))}
    # 按键的上限取消了：挡着的都往前走一步
    keyed = [
        (queue, key, limits.max_running_per_key or most)
        for queue, key in wanted
        if key is not None and (limits := found.get(queue)) is not None
    ]
    if keyed:
        await connection.fetch(BY_KEY, [q for q, *_ in keyed], [k for _, k, _ in keyed], [n for *_, n in keyed])
    return await _by_queue(connection, list(found.values()), most)


async def _lock(connection: Connection, queues: Sequence[str]) -> list[Limits]:
    rows = await connection.fetch(LOCK, queues)
    return [
        Limits(
            row["name"],
            row["max_running"],
            row["max_running_per_key"],
            None if row["rate"] is None else msgspec.json.decode(row["rate"], type=Rate),
        )
        for row in rows
    ]


async def _by_queue(connection: Connection, queues: Sequence[Limits], most: int) -> Given:
    if not queues:
        return Given({}, {})
    counts = {row["queue"]: row for row in await connection.fetch(COUNTS, [each.queue for each in queues])}
    tokens = await _tokens(connection, queues)
    rooms = {each.queue: _room(each, counts[each.queue], tokens.get(each.queue), most) for each in queues}
    open_ = {queue: room for queue, room in rooms.items() if room > 0}
    rows = await connection.fetch(BY_QUEUE, list(open_), list(open_.values())) if open_ else []
    tickets: dict[Lane, list[Ticket]] = {}
    for row in sorted(rows, key=itemgetter("id")):
        tickets.setdefault((row["queue"], row["priority"]), []).append(Ticket(row["id"], row["claim_no"], row["at_ms"]))
    spent = {queue: sum(len(found) for (name, _), found in tickets.items() if name == queue) for queue in tokens}
    left = {queue: tokens[queue] - number for queue, number in spent.items()}
    if paid := {queue: left[queue] for queue, number in spent.items() if number}:
        await connection.execute(SPEND, list(paid), list(paid.values()))
    rates = {each.queue: each.rate for each in queues if each.rate is not None}
    return Given(tickets, {queue: (1 - left[queue]) / rate.per_s for queue, rate in rates.items() if left[queue] < 1})


def _room(limits: Limits, counts: Any, tokens: float | None, most: int) -> int:
    """放行而未领取的也算在一阵之内：工作进程都不在时攒下的，不会等它们来了一拥而上。"""
    room = most
    if limits.max_running is not None:
        room = min(room, limits.max_running - counts["taken"])
    if limits.rate is not None and tokens is not None:
        room = min(room, int(tokens), limits.rate.most - counts["unclaimed"])
    return room


async def _tokens(connection: Connection, queues: Sequence[Limits]) -> dict[str, float]:
    rated = [(each.queue, float(each.rate.most), each.rate.per_s) for each in queues if each.rate is not None]
    if not rated:
        return {}
    rows = await connection.fetch(BUCKETS, [q for q, *_ in rated], [b for _, b, _ in rated], [r for *_, r in rated])
    return {row["queue"]: row["tokens"] for row in rows}


async def room(connection: Connection, most: Mapping[str, int]) -> dict[str, int]:
    """Return how many more tasks each queue takes, of at most `most` that wait; nobody else submits to them until the commit."""
    names = sorted(most)
    await connection.fetch(CLOSE, names)
    rows = await connection.fetch(BACKLOG, names, [most[name] for name in names])
    return {row["queue"]: most[row["queue"]] - row["waiting"] for row in rows}


async def adopt(connection: Queryable) -> int:
    """Let running tasks of queues with limits count that were claimed before there was one; returns how many."""
    return len(await connection.fetch(ADOPT))


async def enrol(connection: Queryable, most: int) -> Counter[Place]:
    """Line up available tasks of queues with limits that are not yet, at most `most` a queue; returns how many where."""
    rows = await connection.fetch(ENROL, most)
    return Counter((row["queue"], row["concurrency_key"] if row["slot"] == HELD_BY_KEY else None) for row in rows)


async def release(connection: Queryable, most: int) -> int:
    """Let go what is held in queues that have no limits any more; returns how many."""
    return len(await connection.fetch(RELEASE, most))


async def held_keys(connection: Queryable, after: tuple[str, str], most: int) -> list[tuple[str, str]]:
    """Return the next `most` queues and keys with held tasks, in order."""
    return [(row["queue"], row["concurrency_key"]) for row in await connection.fetch(KEYS, *after, most)]


async def held_queues(connection: Queryable) -> list[str]:
    """Return the queues in which tasks wait for the queue's own limits."""
    return [row["queue"] for row in await connection.fetch(QUEUES)]
