"""Facts that say why a task waits: its queue, who serves it, whether a scheduler lives. One statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from taskmill.stores import constants as sc
from taskmill.stores.database import Queryable
from taskmill.stores.tasks.turns import HELD as HELD_BY_TURN

# 会来领任务的：活着，没在收尾，操作者也没有叫它停下
_SERVING = "w.dead_at is null and w.lease_until >= now() and not w.draining and w.order_kind = 'run' and $1 = any (w.queues)"
FACTS = f"""
select q.paused_at, q.paused_by,
       exists (select from taskmill.workers w where {_SERVING}) as served,
       exists (select from taskmill.workers w where {_SERVING} and $2 = any (w.kinds)) as known,
       exists (select from taskmill.schedulers s where s.lease_until >= now()) as scheduled
from (select) one left join taskmill.queues q on q.name = $1
"""
# 被上限挡着的：占着空位的是谁，桶里什么时候有
HELD = """
select q.max_running, q.max_running_per_key, q.rate, q.rate_per_key,
       (select count(*) from taskmill.tasks t where t.queue = q.name and t.slot = 2) as running,
       (select count(*) from taskmill.tasks t where t.queue = q.name and t.concurrency_key = $2 and t.slot >= 1) as of_key,
       (select count(*) from taskmill.tasks t where t.queue = q.name and t.slot = $3
        and (t.concurrency_key = $2 or $3 = 1) and (t.priority, t.id) < ($4::smallint, $5::uuid)) as ahead
from taskmill.queues q where q.name = $1
"""
# 等轮到公平键的：从上次轮到的键数起，轮到它之前还有几个键（至多数 $5 个），它自己的前面有几个
KEYS_BEFORE = f"""
with recursive keys as (
  (select fairness_key as key, 1 as n from taskmill.tasks
   where {HELD_BY_TURN} and queue = $1 and priority = $2 order by fairness_key limit 1)
  union all
  select x.key, k.n + 1 from keys k cross join lateral (
    select fairness_key as key from taskmill.tasks
    where {HELD_BY_TURN} and queue = $1 and priority = $2 and fairness_key > k.key order by fairness_key limit 1) x
  where k.n < $5
), last as (
  select coalesce((select f.key from taskmill.fairness_turns f where f.queue = $1 and f.priority = $2), '') as key
)
select (select count(*) from keys k, last l where case when $3 > l.key then k.key > l.key and k.key < $3
                                                       else k.key > l.key or k.key < $3 end) as keys,
       (select count(*) from taskmill.tasks
        where {HELD_BY_TURN} and queue = $1 and priority = $2 and fairness_key = $3 and id < $4) as ahead
"""
# 等别的任务的：轮到谁、停在哪里
TURN = """
select s.head, h.state, (
  select x.task_id from taskmill.sequence_stops x where x.key = t.sequence_key and x.no < t.sequence_no order by x.no limit 1
) as stopped_by, (
  select count(*) from taskmill.tasks b where b.sequence_key = t.sequence_key and b.sequence_no < t.sequence_no
) as ahead
from taskmill.tasks t
left join taskmill.sequence_turns s on s.key = t.sequence_key
left join taskmill.tasks h on h.id = s.head
where t.id = $1
"""
# 有任务在等、却没有人会来领的队列与类型；暂停的队列是有意的。
# 工作进程领到不认得的类型就推迟它一小会儿：这样的任务几乎总是 scheduled，也算在等
UNSERVED = f"""
with serving as materialized (
  select w.queues, w.kinds from taskmill.workers w
  where w.dead_at is null and w.lease_until >= now() and not w.draining and w.order_kind = 'run'
), waiting as materialized (
  select t.queue, t.kind || ':' || t.kind_version as kind, count(*) as n from taskmill.tasks t
  where t.state = 'available'
     or t.state in ('scheduled', 'retryable') and t.run_at <= now() + make_interval(secs => {sc.UNSERVED_DELAY_S})
  group by 1, 2
)
select w.queue, w.kind, w.n::bigint as n, exists (select from serving s where w.queue = any (s.queues)) as served
from waiting w
where not exists (select from serving s where w.queue = any (s.queues) and w.kind = any (s.kinds))
  and not exists (select from taskmill.queues q where q.name = w.queue and q.paused_at is not null)
order by w.n desc limit $1
"""
PAUSED = """
select q.name, q.paused_by, (select count(*) from taskmill.tasks t where t.queue = q.name and t.state = 'available') as n
from taskmill.queues q where q.paused_at is not null order by q.name limit $1
"""


@dataclass(frozen=True, slots=True)
class WaitFacts:
    """`served`: a live worker takes tasks of the queue; `known`: one of these knows the kind; `scheduled`: a scheduler lives."""

    paused_at: datetime | None
    paused_by: str | None
    served: bool
    known: bool
    scheduled: bool


@dataclass(frozen=True, slots=True)
class HeldFacts:
    """The limits that hold a task, how many have a slot in the queue and of its key, and how many are before it."""

    max_running: int | None
    max_running_per_key: int | None
    rate: bytes | None
    rate_per_key: bytes | None
    running: int
    of_key: int
    ahead: int


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """Whose turn it is in a task's sequence, in which state that one is, which failed task stops it, how many are before it."""

    head: UUID | None
    state: str | None
    stopped_by: UUID | None
    ahead: int


async def turn(connection: Queryable, task_id: UUID) -> TurnFacts | None:
    """Return what a blocked task of a sequence waits for; None if it does not wait any more."""
    found = await connection.fetchrow(TURN, task_id)
    return None if found is None or found["head"] == task_id else TurnFacts(*found)


async def held(connection: Queryable, row: Any) -> HeldFacts | None:
    """Return what a task waits for that a limit holds; None if its queue is gone."""
    found = await connection.fetchrow(HELD, row["queue"], row["concurrency_key"], row["slot"], row["priority"], row["id"])
    return None if found is None else HeldFacts(*found)


async def keys_before(connection: Queryable, row: Any, most: int) -> tuple[int, int]:
    """Return how many fairness keys come before this task's, at most `most`, and how many tasks of its own key."""
    given = row["queue"], row["priority"], row["fairness_key"], row["id"], most
    found: Any = await connection.fetchrow(KEYS_BEFORE, *given)
    return found["keys"], found["ahead"]


async def facts(connection: Queryable, queue: str, kind: str, version: int) -> WaitFacts:
    """Return what a waiting task of this queue and kind depends on."""
    row: Any = await connection.fetchrow(FACTS, queue, f"{kind}:{version}")
    return WaitFacts(row["paused_at"], row["paused_by"], row["served"], row["known"], row["scheduled"])


async def unserved(connection: Queryable, limit: int) -> list[tuple[str, str, int, bool]]:
    """Return (queue, kind:version, tasks that wait, is the queue served at all) that no live worker takes, the most first."""
    return [(row["queue"], row["kind"], row["n"], row["served"]) for row in await connection.fetch(UNSERVED, limit)]


async def paused(connection: Queryable, limit: int) -> list[tuple[str, str | None, int]]:
    """Return (queue, who paused it, tasks that wait) of the paused queues."""
    return [(row["name"], row["paused_by"], row["n"]) for row in await connection.fetch(PAUSED, limit)]
