"""What a change of limits would do to the backlog of a queue, counted and nothing written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from taskmill.controls.rate import Rate
from taskmill.models.task_queue import KEYED
from taskmill.stores.database import Connection
from taskmill.stores.tasks import rates

# 与放行者同样的次序与算法，只数不写：先按键（空位、令牌），再按队列。$2：现在有没有按键的上限（有，则排到队列的都按键排过）
COUNT = """
with mine as materialized (
  select t.id, t.priority, t.concurrency_key as key, t.state, t.slot, t.state = 'running' or t.slot is not distinct from 2 as runs
  from taskmill.tasks t where t.queue = $1 and t.state in ('available', 'running')
), keys as materialized (
  select m.key, count(*) filter (where m.runs or (m.slot in (1, 3) and $2)) as taken,
         count(*) filter (where m.state = 'available' and (m.slot = 2 or (m.slot in (1, 3) and $2))) as in_hand
  from mine m where m.key is not null group by 1
), room as materialized (
  select k.key, least($3::int - k.taken, $4::float8 - k.in_hand, floor(least($4::float8, b.ceiling, coalesce(
           b.tokens + greatest(extract(epoch from clock_timestamp() - b.at), 0) * $5::float8, $4::float8)))) as n
  from keys k left join taskmill.key_rate_buckets b on b.queue = $1 and b.key = k.key
), lined as (
  select m.id, m.priority, m.key, m.slot,
         row_number() over (partition by m.key, coalesce(m.slot, 0) in (1, 3) and $2 order by m.priority, m.id) as nth
  from mine m where not m.runs
), passed as (
  select l.*, l.key is null or r.n is null or (coalesce(l.slot, 0) in (1, 3) and $2) or l.nth <= r.n as ok
  from lined l left join room r on r.key = l.key
), ranked as materialized (
  select p.*, p.ok and row_number() over (partition by p.ok order by p.priority, p.id) <= least(
           coalesce($6::int - (select count(*) from mine where runs), 2147483647), coalesce($7::int, 2147483647)) as starts
  from passed p
), now_held as (
  select *, slot in (0, 1) or (slot = 3 and (select max_running is not null or rate is not null from taskmill.queues where name = $1)) as held
  from ranked
), worst as (
  select key, count(*) as n from ranked where not ok group by 1 order by 2 desc, 1
)
select (select count(*) from mine where state = 'available') as waiting,
       count(*) filter (where r.held) as held_now, count(*) filter (where not r.starts) as held,
       count(*) filter (where r.held and r.starts) as released,
       (select count(*) from worst) as keys, (select array_agg(key) from (select key from worst limit $8) w) as names,
       (select array_agg(n) from (select n from worst limit $8) w) as numbers, now() as at
from now_held r
"""
KEYED_NOW = f"select {KEYED} from taskmill.queues where name = $1"
MEAN = """
select (sum(run_ms) / nullif(sum(n), 0) / 1000)::float8 from taskmill.rollups
where queue = $1 and outcome in ('completed', 'discarded') and minute >= now() - $2 * interval '1 minute'
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """Counts of a backlog under new limits; `keys` those with the most tasks that a limit of keys would hold."""

    waiting: int
    held_now: int
    held: int
    released: int
    keys_total: int
    keys: tuple[tuple[str, int], ...]
    at: datetime
    mean_run_s: float | None


async def effect(connection: Connection, queue: str, wanted: Any, *, keys: int, minutes: int) -> Effect:
    """Count, in a transaction that can write nothing. `wanted` has the limits by name, rates as `Rate`."""
    await connection.execute("set transaction read only")
    rate: Rate | None = wanted["rate"]
    per_key: Rate | None = wanted["rate_per_key"]
    levels = await rates.levels(connection, {} if rate is None else {(queue, None): rate})
    starts = None if rate is None else levels[queue, None].starts(rate)
    row: Any = await connection.fetchrow(
        COUNT,
        queue,
        bool(await connection.fetchval(KEYED_NOW, queue)),
        wanted["max_running_per_key"],
        None if per_key is None else float(per_key.most),
        None if per_key is None else per_key.per_s,
        wanted["max_running"],
        starts,
        keys,
    )
    mean = await connection.fetchval(MEAN, queue, minutes)
    return Effect(
        row["waiting"],
        row["held_now"],
        row["held"],
        row["released"],
        row["keys"],
        tuple(zip(row["names"] or (), row["numbers"] or (), strict=True)),
        row["at"],
        mean,
    )
