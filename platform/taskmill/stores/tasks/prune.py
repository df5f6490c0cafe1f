"""Removal of what nobody needs any more, in batches: orphaned attempts, old fires, dead workers, fine-grained rollups."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from taskmill.stores import constants as c
from taskmill.stores.database import Queryable
from taskmill.stores.tasks.history import counted, counts

NOBODY = UUID(int=0)  # 合并后的汇总行的 writer

# 保留期之内结束的尝试，其任务的分区必定还在；更早的要看任务是否还活着或还在历史里
ATTEMPTS = """
with old as materialized (
  select a.task_id, a.claim_no from taskmill.task_attempts a
  where a.finished_at < date_trunc('day', now(), 'UTC') - $1 * interval '1 day'
    and not exists (select from taskmill.tasks t where t.id = a.task_id)
    and not exists (select from taskmill.task_history h where h.id = a.task_id)
  order by a.finished_at limit $2 for update of a skip locked
)
delete from taskmill.task_attempts a using old where a.task_id = old.task_id and a.claim_no = old.claim_no
returning a.claim_no
"""
FIRES = """
with old as materialized (
  select schedule_id, fire_at from taskmill.schedule_fires
  where created_at < now() - $1 * interval '1 day' order by created_at limit $2 for update skip locked
)
delete from taskmill.schedule_fires f using old where f.schedule_id = old.schedule_id and f.fire_at = old.fire_at
returning f.fire_at
"""
UNIQUE_KEYS = """
with old as materialized (
  select key from taskmill.unique_keys where until <= now() order by until limit $1 for update skip locked
)
delete from taskmill.unique_keys k using old where k.key = old.key and k.until <= now() returning k.key
"""
# 删掉死者的行不影响救援：救援者把「无此工作进程」与「已死」同等看待
WORKERS = """
delete from taskmill.workers where dead_at < now() - $1 * interval '1 second' returning id
"""


def _merged(unit: str, old: str) -> str:
    """不变量 9 要求汇总永不丢失，所以只合并，总和不变。"""
    rows = f"""
  select date_trunc('{unit}', minute, 'UTC'), queue, kind, outcome, $1::uuid, sum(n), sum(wait_ms), sum(run_ms),
         sum(wait_hist), sum(run_hist)
  from d group by 1, 2, 3, 4"""
    return f"""
with old as materialized (
  select minute, queue, kind, outcome, writer from taskmill.rollups
  where {old}
  order by minute, queue, kind, outcome, writer limit $2 for update skip locked
), d as (
  delete from taskmill.rollups r using old
  where (r.minute, r.queue, r.kind, r.outcome, r.writer) = (old.minute, old.queue, old.kind, old.outcome, old.writer)
  returning r.*
), merged as (
  {counted(rows)}
)
select n from d
"""


# 过了的分钟：各写入者的合成一行，图表读的行数不随工作进程增加；只看最近一段，每轮都便宜
CLOSED = _merged(
    "minute",
    f"""minute >= date_trunc('minute', now()) - interval '{c.ROLLUP_LOOK_MINUTES} minutes'
    and minute < date_trunc('minute', now()) - interval '{c.ROLLUP_CLOSED_MINUTES} minutes' and writer <> $1""",
)
# 一天之前的分钟合并成小时：七天的图表只读几千行
HOURS = _merged(
    "hour",
    f"""minute >= date_trunc('hour', now(), 'UTC') - interval '{c.ROLLUP_HOURS_LOOK} hours'
    and minute < date_trunc('hour', now(), 'UTC') - interval '{c.ROLLUP_HOURS} hours'
    and (writer <> $1 or minute <> date_trunc('hour', minute, 'UTC'))""",
)
# 旧的小时合并成天
ROLLUPS = _merged(
    "day",
    """minute < date_trunc('day', now(), 'UTC') - $3 * interval '1 day'
    and (writer <> $1 or minute <> date_trunc('day', minute, 'UTC'))""",
)
# 队列自己的保留期。编号按创建时间排序，而创建不晚于结束：编号的上界让索引只走过期的那一段
KEPT_SHORT = """
select name, now() - retention_s * interval '1 second' as cutoff from taskmill.queues
where retention_s is not null order by name
"""
EXPIRED = f"""
with old as materialized (
  select h.id, h.finished_at from taskmill.task_history h
  where h.queue = $1 and h.finished_at < $2
    and h.id < (lpad(to_hex((extract(epoch from $2::timestamptz) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid
  order by h.id limit $4 for update skip locked
), d as (
  delete from taskmill.task_history h using old where h.id = old.id and h.finished_at = old.finished_at
  returning h.queue, h.kind
), r as (
  {counted(counts("d", "'pruned'", "$3"))}
)
select count(*) from d
"""


async def prune_queues(connection: Queryable, writer: UUID, limit: int) -> tuple[int, bool]:
    """Delete finished tasks older than the retention of their queue, at most `limit` a queue, counted as `pruned`.

    Returns how many, and whether some queue had more.
    """
    total, more = 0, False
    for queue in await connection.fetch(KEPT_SHORT):
        n: Any = await connection.fetchval(
            EXPIRED, queue["name"], queue["cutoff"], writer, limit, timeout=c.LONG_COMMAND_TIMEOUT_S
        )
        total, more = total + n, more or n == limit
    return total, more


async def prune_attempts(connection: Queryable, retention_days: int, limit: int) -> int:
    """Delete attempts older than the retention whose task is neither live nor in history; returns how many."""
    return len(await connection.fetch(ATTEMPTS, retention_days, limit, timeout=c.LONG_COMMAND_TIMEOUT_S))


async def prune_fires(connection: Queryable, retention_days: int, limit: int) -> int:
    """Delete records of fires older than the retention; returns how many."""
    return len(await connection.fetch(FIRES, retention_days, limit, timeout=c.LONG_COMMAND_TIMEOUT_S))


async def prune_unique_keys(connection: Queryable, limit: int) -> int:
    """Delete keys that nobody holds any more; returns how many."""
    return len(await connection.fetch(UNIQUE_KEYS, limit, timeout=c.LONG_COMMAND_TIMEOUT_S))


async def prune_workers(connection: Queryable, keep_s: float) -> int:
    """Delete workers that died more than `keep_s` seconds ago; returns how many."""
    return len(await connection.fetch(WORKERS, keep_s, timeout=c.LONG_COMMAND_TIMEOUT_S))


async def merge_rollups(connection: Queryable, retention_days: int, limit: int) -> int:
    """Merge the writers of closed minutes, minutes older than a day into hours, and hours older than the retention and than charts into days.

    The sums stay. Returns how many rows were merged.
    """
    days = max(retention_days, c.ROLLUP_DAYS)
    merged = 0
    for statement, more in ((CLOSED, ()), (HOURS, ()), (ROLLUPS, (days,))):
        merged += len(await connection.fetch(statement, NOBODY, limit, *more, timeout=c.LONG_COMMAND_TIMEOUT_S))
    return merged
