"""Groups of failures, written by the settle: one statement for a batch, none where nothing failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from taskmill.stores import constants as c
from taskmill.stores.database import Connection, Queryable

# 一个类型的组满了，新的都归进「其余」那一组。按指纹的次序写：两个结算的人不会交叉着等。
# 它是结算的最后一条语句：热的行只锁到提交为止
COUNT = f"""
with u as materialized (
  select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::uuid[])
    with ordinality as u(fingerprint, other, kind, error_type, message, frame, queue, task_id, place)
), k as materialized (
  select d.kind, (select count(*) from (
    select from taskmill.failures f where f.kind = d.kind limit {c.FAILURE_GROUPS_MAX}) f) as n
  from (select distinct kind from u) d
), g as materialized (
  select u.fingerprint, u.other, u.kind, u.error_type, u.message, u.frame, array_agg(distinct u.queue) as queues, count(*) as n,
         array_agg(u.task_id order by u.place desc) as ids, max(u.place) as place,
         exists (select from taskmill.failures f where f.fingerprint = u.fingerprint) as known
  from u group by 1, 2, 3, 4, 5, 6
), placed as (
  select g.*, not g.known and k.n + row_number() over (partition by g.kind, g.known order by g.fingerprint)
                              > {c.FAILURE_GROUPS_MAX} as late
  from g join k on k.kind = g.kind
)
insert into taskmill.failures as f (fingerprint, kind, error_type, message, frame, queues, first_at, last_at, n, task_ids)
select case when late then other else fingerprint end, kind,
       case when late then '' else error_type end, case when late then '' else message end, case when late then '' else frame end,
       (case when late then array_agg(distinct queues[1]) else max(queues) end)[1:{c.FAILURE_QUEUES_MAX}], now(), now(), sum(n),
       (case when late then array_agg(ids[1] order by place desc) else max(ids) end)[1:{c.FAILURE_TASKS_MAX}]
from placed group by 1, 2, 3, 4, 5, late order by 1
on conflict (fingerprint) do update
set n = f.n + excluded.n, last_at = greatest(f.last_at, excluded.last_at),
    queues = case when f.queues @> excluded.queues then f.queues else (f.queues || array(
      select q from unnest(excluded.queues) q where q <> all (f.queues)))[1:{c.FAILURE_QUEUES_MAX}] end,
    task_ids = (excluded.task_ids || array(
      select i from unnest(f.task_ids) i where i <> all (excluded.task_ids)))[1:{c.FAILURE_TASKS_MAX}]
"""
PRUNE = """
with old as materialized (
  select fingerprint from taskmill.failures where last_at < now() - $1 * interval '1 day'
  order by last_at limit $2 for update skip locked
)
delete from taskmill.failures f using old where f.fingerprint = old.fingerprint returning f.fingerprint
"""


@dataclass(frozen=True, slots=True)
class Failed:
    """One failed attempt: its group, the group of what is too much for its kind, and what both are made of."""

    fingerprint: str
    other: str
    kind: str
    error_type: str
    message: str
    frame: str
    queue: str
    task_id: UUID


async def count(connection: Connection, failed: Sequence[Failed]) -> None:
    """Count failed attempts into their groups, in the caller's transaction; the last ones are the newest."""
    await connection.execute(
        f"set local lock_timeout = {c.FAILURE_LOCK_MS}"
    )  # 结算自己的时限太短：同一个错误成片时都排在一行上
    await connection.execute(
        COUNT,
        [each.fingerprint for each in failed],
        [each.other for each in failed],
        [each.kind for each in failed],
        [each.error_type for each in failed],
        [each.message for each in failed],
        [each.frame for each in failed],
        [each.queue for each in failed],
        [each.task_id for each in failed],
    )


async def prune(connection: Queryable, retention_days: int, limit: int) -> int:
    """Delete groups in which nothing has failed for the retention; returns how many."""
    return len(await connection.fetch(PRUNE, retention_days, limit, timeout=c.LONG_COMMAND_TIMEOUT_S))
