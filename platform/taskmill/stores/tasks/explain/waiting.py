"""Facts that say why a task waits: its queue, who serves it, what is before it, what holds it. Every count is bounded."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from taskmill import constants as c
from taskmill.controls.rate import Rate
from taskmill.models.task import SEQUENCED, SLOTTED, SLOTTED_KEY, TICKETLESS
from taskmill.stores import constants as sc
from taskmill.stores.database import Queryable
from taskmill.stores.tasks import rates
from taskmill.stores.tasks.limits import HELD_BY_KEY
from taskmill.stores.tasks.limits import of as limits_of
from taskmill.stores.tasks.turns import HELD as HELD_BY_TURN

# 会来领任务的：活着，没在收尾，操作者也没有叫它停下
_SERVING = "w.dead_at is null and w.lease_until >= now() and not w.draining and w.order_kind = 'run' and $1 = any (w.queues)"
FACTS = f"""
with serving as materialized (
  select w.concurrency, w.running, w.troubles, $2 = any (w.kinds) as knows from taskmill.workers w where {_SERVING}
)
select now() as at, q.paused_at, q.paused_by,
       (select count(*) from serving) as serving,
       count(*) filter (where s.knows) as knowing, coalesce(sum(s.concurrency) filter (where s.knows), 0) as slots,
       coalesce(sum(s.running) filter (where s.knows), 0) as running,
       count(*) filter (where s.knows and s.troubles ->> 'broker' <> '') as cut_off,
       min(s.troubles ->> 'broker') filter (where s.knows and s.troubles ->> 'broker' <> '') as said,
       (select k.plugin from taskmill.kinds k where k.kind = $3 and k.version = $4) as plugin,
       (select jsonb_object_agg(p.key, p.value) from serving b cross join lateral jsonb_each(b.troubles -> 'plugins') p) as broken,
       (select max(w.lease_until) from taskmill.workers w where $1 = any (w.queues)) as last_seen,
       exists (select from taskmill.schedulers s where s.lease_until >= now()) as scheduled
from (select) one left join taskmill.queues q on q.name = $1 left join serving s on true
group by q.paused_at, q.paused_by
"""
# 同一条道上排在前面的：有票的按票的次序，没有票的都在有票的后面；只数到上限。另有任务在等的优先级分走一部分：
# 写成 exists，优化器会把整个队列读进散列表
AHEAD = f"""
select (select count(*) from (
  (select from taskmill.tasks t where t.state = 'available' and t.queue = $1 and t.priority = $2
     and t.ticket_at <= coalesce($3::timestamptz, 'infinity') and (t.ticket_at < coalesce($3, 'infinity') or t.id < $4) limit $5)
  union all
  (select from taskmill.tasks t where $3 is null and {TICKETLESS} and t.queue = $1 and t.priority = $2 and t.id < $4 limit $5)
  limit $5) a) as ahead,
  array(select u.p from unnest($6::smallint[]) u(p) cross join lateral (
    select from taskmill.tasks t where t.state = 'available' and t.queue = $1 and t.priority = u.p limit 1) x) as lanes,
  r.n, r.s
from (
  select coalesce(sum(n), 0)::float8 as n, coalesce(extract(epoch from now() - min(minute)), 0)::float8 as s from taskmill.rollups
  where queue = $1 and outcome in ('completed', 'discarded') and minute >= date_trunc('minute', now()) - $7 * interval '1 minute'
) r
"""
# 被上限挡着的：占着空位的是谁（几个）、有多少，前面有多少
HELD_BY_KEY_OF = f"""
select (select count(*) from (select from taskmill.tasks t
    where t.queue = $1 and t.concurrency_key = $2 and t.slot > 0 and {SLOTTED_KEY} limit $5) n) as taken,
  (select count(*) from (select from taskmill.tasks t where t.queue = $1 and t.concurrency_key = $2 and t.slot = 0
    and {SLOTTED_KEY} and (t.priority, t.id) < ($3::smallint, $4::uuid) limit $5) n) as ahead,
  array(select t.id from taskmill.tasks t
    where t.queue = $1 and t.concurrency_key = $2 and t.slot > 0 and {SLOTTED_KEY} order by t.slot desc limit $6) as holders
"""
HELD_BY_QUEUE_OF = f"""
select (select count(*) from (select from taskmill.tasks t where t.queue = $1 and t.slot = 2 and {SLOTTED} limit $4) n) as taken,
  (select count(*) from (select from taskmill.tasks t where t.queue = $1 and t.slot = 1 and {SLOTTED}
    and (t.priority, t.id) < ($2::smallint, $3::uuid) limit $4) n) as ahead,
  array(select t.id from taskmill.tasks t where t.queue = $1 and t.slot = 2 and {SLOTTED} limit $5) as holders
"""
# 等轮到公平键的：从上次轮到的键数起，轮到它之前还有几个键，它自己的前面有几个，都至多数 $5 个
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
       (select count(*) from (select from taskmill.tasks
          where {HELD_BY_TURN} and queue = $1 and priority = $2 and fairness_key = $3 and id < $4 limit $5) a) as ahead
"""
# 等别的任务的：轮到谁、停在哪里
TURN = f"""
select s.head, h.state, (
  select x.task_id from taskmill.sequence_stops x where x.key = t.sequence_key and x.no < t.sequence_no order by x.no limit 1
) as stopped_by, (
  select count(*) from (select from taskmill.tasks b
    where b.sequence_key = t.sequence_key and b.sequence_no < t.sequence_no and b.{SEQUENCED} limit $2) n
) as ahead
from taskmill.tasks t
left join taskmill.sequence_turns s on s.key = t.sequence_key
left join taskmill.tasks h on h.id = any (array[s.head])
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
    """What a waiting task of a queue and kind depends on, `at` PostgreSQL's time.

    `serving`: live workers that take tasks of the queue; of these, `knowing` know the kind, have `slots` with `running`
    tasks, and `cut_off` cannot reach Valkey, which `said` what. `plugin`: whose kind it is; `broken`: plugins that did not
    come up in workers of the queue, with their words. `last_seen`: until when somebody served it. `scheduled`: a scheduler lives.
    """

    at: datetime
    paused_at: datetime | None
    paused_by: str | None
    serving: int
    knowing: int
    slots: int
    running: int
    cut_off: int
    said: str | None
    plugin: str | None
    last_seen: datetime | None
    scheduled: bool
    broken: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AheadFacts:
    """How many are before a task in its lane, which priorities of the queue have tasks, and how many a second end of late (None: none did)."""

    ahead: int
    lanes: list[int]
    per_s: float | None


@dataclass(frozen=True, slots=True)
class HeldFacts:
    """What holds a task: how many `may` have a slot or, with `rate`, start; how many have a slot, some of these, how many are before it.

    `refill_s`: when its bucket has a token, 0 now, None while those that were let go have not begun.
    """

    may: int | None
    rate: Rate | None
    taken: int
    holders: list[UUID]
    ahead: int
    refill_s: float | None = None


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """Whose turn it is in a task's sequence, in which state that one is, which failed task stops it, how many are before it."""

    head: UUID | None
    state: str | None
    stopped_by: UUID | None
    ahead: int


async def keys_before(connection: Queryable, row: Any, most: int) -> tuple[int, int]:
    """Return how many fairness keys come before this task's and how many tasks of its own key, counted to `most` + 1."""
    given = row["queue"], row["priority"], row["fairness_key"], row["id"], most + 1
    found: Any = await connection.fetchrow(KEYS_BEFORE, *given)
    return found["keys"], found["ahead"]


async def facts(connection: Queryable, queue: str, kind: str, version: int) -> WaitFacts:
    """Return what a waiting task of this queue and kind depends on."""
    row: Any = await connection.fetchrow(FACTS, queue, f"{kind}:{version}", kind, version)
    found = dict(row)
    raw = found.pop("broken")
    return WaitFacts(**found, broken={} if raw is None else msgspec.json.decode(raw, type=dict[str, str]))


async def ahead(connection: Queryable, row: Any, *, most: int, minutes: int) -> AheadFacts:
    """Return what is before an available task that no limit holds, counted to `most` + 1, and the pace of the last `minutes`."""
    found: Any = await connection.fetchrow(
        AHEAD, row["queue"], row["priority"], row["ticket_at"], row["id"], most + 1, list(c.PRIORITIES), minutes
    )
    per_s = found["n"] / found["s"] if found["n"] and found["s"] > 0 else None
    return AheadFacts(found["ahead"], list(found["lanes"]), per_s)


async def held(connection: Queryable, row: Any, *, most: int, shown: int) -> HeldFacts | None:
    """Return what a task waits for that a limit holds, counted to `most` + 1 with `shown` holders; None if its queue is gone."""
    limits = await limits_of(connection, row["queue"])
    if limits is None:
        return None
    keyed = row["slot"] == HELD_BY_KEY
    if keyed:
        given = (row["queue"], row["concurrency_key"], row["priority"], row["id"], most + 1, shown)
        found: Any = await connection.fetchrow(HELD_BY_KEY_OF, *given)
    else:
        found = await connection.fetchrow(HELD_BY_QUEUE_OF, row["queue"], row["priority"], row["id"], most + 1, shown)
    may, rate = limits.at(row["slot"])
    place = (row["queue"], row["concurrency_key"] if keyed else None)
    refill = None if rate is None else await _refill(connection, place, rate)
    return HeldFacts(may, rate, found["taken"], list(found["holders"]), found["ahead"], refill)


async def _refill(connection: Queryable, place: rates.Place, rate: Rate) -> float | None:
    """桶只满到一阵的上限减去放行而未开始的：满不到一个，就不知道何时。"""
    level = (await rates.levels(connection, {place: rate}))[place]
    if level.starts(rate) >= 1:
        return 0.0
    if rate.most - level.in_hand < 1 or level.ceiling < 1:
        return None
    return (1 - level.tokens) / rate.per_s


async def turn(connection: Queryable, task_id: UUID, *, most: int) -> TurnFacts | None:
    """Return what a blocked task of a sequence waits for, counted to `most` + 1; None if it does not wait any more."""
    found = await connection.fetchrow(TURN, task_id, most + 1)
    return None if found is None or found["head"] == task_id else TurnFacts(*found)


async def unserved(connection: Queryable, limit: int) -> list[tuple[str, str, int, bool]]:
    """Return (queue, kind:version, tasks that wait, is the queue served at all) that no live worker takes, the most first."""
    return [(row["queue"], row["kind"], row["n"], row["served"]) for row in await connection.fetch(UNSERVED, limit)]


async def paused(connection: Queryable, limit: int) -> list[tuple[str, str | None, int]]:
    """Return (queue, who paused it, tasks that wait) of the paused queues."""
    return [(row["name"], row["paused_by"], row["n"]) for row in await connection.fetch(PAUSED, limit)]
