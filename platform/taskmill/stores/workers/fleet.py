"""What an operator reads and writes: load of all queues, workers that run in pods, their orders and deaths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from taskmill.models.task_queue import HELD_BY_LIMITS
from taskmill.states import INFRASTRUCTURE, Cause, Order
from taskmill.stores.database import AWAY, Queryable
from taskmill.stores.tasks.rescue import DEATH_LEASE
from taskmill.stores.workers.troubles import NONE, Troubles, decode

# 迁移之前的库还没有 troubles 一列：经 jsonb 去取，没有就是空
# 与热路径相反：这里要扫全表的汇总，计划交给规划器
SETTINGS = {"application_name": "taskmill-operator", "statement_timeout": "5000", "jit": "off"}
COMMAND_TIMEOUT_S = 8.0  # 比 statement_timeout 略长：连接断了也要有回音
FAILURES = (*AWAY, asyncpg.PostgresError)

_UNHELD = f" and {HELD_BY_LIMITS} is not true"
# 一条语句看全部队列：活动表一遍扫完，汇总只看窗口内的分钟
OBSERVE = f"""
with live as materialized (
  select queue,
         count(*) filter (where state = 'available'{_UNHELD}) as ready,
         count(*) filter (where state = 'running') as running,
         count(*) filter (where state in ('scheduled', 'retryable')
                            and run_at <= now() + $2 * interval '1 second') as due_soon,
         min(run_at) filter (where state = 'available'{_UNHELD}) as oldest
  from taskmill.tasks group by queue
), done as materialized (
  select queue, sum(n) as n
  from taskmill.rollups
  where minute >= date_trunc('minute', $1::timestamptz) and outcome in ('completed', 'discarded')
  group by queue
), named as (
  select name as queue from taskmill.queues union select queue from live
), elsewhere as (
  select q.name as queue, array_agg(distinct k.name order by k.name) as kinds
  from taskmill.workers w, unnest(w.queues) as q (name), unnest(w.kinds) as k (name)
  where w.dead_at is null and w.lease_until > now() and w.pod_uid is null group by 1
)
select n.queue, coalesce(l.ready, 0), coalesce(l.running, 0), coalesce(l.due_soon, 0),
       greatest(coalesce(extract(epoch from now() - l.oldest), 0), 0)::float8,
       coalesce(d.n, 0)::bigint, now(), coalesce(e.kinds, '{{}}')
from named n left join live l on l.queue = n.queue left join done d on d.queue = n.queue
left join elsewhere e on e.queue = n.queue
"""
# 迁移之前的库没有 slot 一列，也没有上限
OBSERVE_UNLIMITED = OBSERVE.replace(_UNHELD, "")
WORKERS = """
select id, pod_uid, coalesce(pod, '') as pod, queues, coalesce(bundle, '') as bundle, concurrency, running, draining,
       order_kind as "order", order_token, case when order_seen = order_no then order_token else -1 end as order_seen,
       started_at, ready, kinds, to_jsonb(w) -> 'troubles' as troubles
from taskmill.workers w
where dead_at is null and lease_until > now() and pod_uid is not null
order by started_at, id
"""
# 栅栏：比行里更旧的发令者什么也改不了。只换发令者不算新命令，工作进程不必再应一次
ORDER = """
update taskmill.workers
set order_kind = $2, order_token = $3, order_no = order_no + case when order_kind = $2 then 0 else 1 end
where pod_uid = any ($1::text[]) and dead_at is null and order_token <= $3
  and (order_kind <> $2 or order_token <> $3)
returning id
"""
# 只认死亡时刻之前登记的编号：同一个 pod 里重启的容器是另一个编号，它活着。集群的时刻舍去了不足一秒的部分，
# 刚登记就死的也要认出来；重启的容器一秒之内还来不及登记
_BEFORE = "w.started_at < u.at + interval '1 second'"
BURY = f"""
update taskmill.workers w set death_cause = u.cause
from unnest($1::text[], $2::text[], $3::timestamptz[]) as u(pod_uid, cause, at)
where w.pod_uid = u.pod_uid and w.dead_at is null and w.death_cause is null and {_BEFORE}
returning w.id
"""
# 消息来晚了，救援者已按崩溃处理：补上死因；基础设施的事把那次崩溃退回。救援与判死在同一事务，故按时间能找到它的尝试。
# 只认容器里最后的编号：更早的那些是进程活着时丢了租约，与这次死亡无关
BURY_LATE = f"""
with late as (
  update taskmill.workers w set death_cause = u.cause
  from unnest($1::text[], $2::text[], $3::timestamptz[]) as u(pod_uid, cause, at)
  where w.pod_uid = u.pod_uid and w.death = $4 and w.death_cause is null and {_BEFORE}
    and not exists (select from taskmill.workers n where n.pod_uid = w.pod_uid and n.started_at > w.started_at
                      and n.started_at < u.at + interval '1 second')
  returning w.id, w.dead_at, u.cause
), amended as (
  update taskmill.task_attempts a set cause = late.cause from late
  where a.finished_at between late.dead_at and late.dead_at + interval '1 minute'
    and a.worker_id = late.id and a.cause = 'crash'
  returning a.task_id, a.cause
), refunded as (
  update taskmill.tasks t set crash_count = t.crash_count - 1, updated_at = now()
  from amended where t.id = amended.task_id and amended.cause = any ($5::text[]) and t.crash_count > 0
)
select id from late
"""


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """The load of one queue at `at`, PostgreSQL's clock.

    `ready`: available now and held by no limit; `due_soon`: waiting and due within the horizon; `finished`: tasks that ended (completed or
    discarded) since the minute asked for; `elsewhere`: kinds (`kind:version`) that living workers outside pods serve.
    """

    queue: str
    ready: int
    running: int
    due_soon: int
    oldest_wait_s: float
    finished: int
    at: datetime
    elsewhere: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerFact:
    """One living incarnation in a pod. `order_seen` equals `order_token` once the order was obeyed, else it is -1."""

    id: UUID
    pod_uid: str
    pod: str
    queues: tuple[str, ...]
    bundle: str
    concurrency: int
    running: int
    draining: bool
    order: Order
    order_token: int
    order_seen: int
    started_at: datetime
    ready: bool
    kinds: tuple[str, ...] = ()
    troubles: Troubles = NONE


@dataclass(frozen=True, slots=True)
class PodDeath:
    """A pod's container that has ended: why (one of states.DEATHS) and when."""

    pod_uid: str
    cause: Cause
    at: datetime


async def observe(connection: Queryable, since: datetime, horizon_s: float) -> list[QueueLoad]:
    """Return the load of every queue in one statement; also of a schema from before limits."""
    try:
        rows = await connection.fetch(OBSERVE, since, horizon_s)
    except asyncpg.UndefinedColumnError:
        rows = await connection.fetch(OBSERVE_UNLIMITED, since, horizon_s)
    return [QueueLoad(*row[:-1], elsewhere=tuple(row[-1])) for row in rows]


async def workers(connection: Queryable) -> list[WorkerFact]:
    """Return the incarnations in pods whose lease is not over, the oldest first."""
    found: list[WorkerFact] = []
    for row in await connection.fetch(WORKERS):
        fact: dict[str, Any] = {
            **row,
            "queues": tuple(row["queues"]),
            "kinds": tuple(row["kinds"]),
            "order": Order(row["order"]),
            "troubles": decode(row["troubles"]),
        }
        found.append(WorkerFact(**fact))
    return found


async def order(connection: Queryable, pod_uids: Sequence[str], kind: Order, token: int) -> int:
    """Give an order to the workers of pods, unless a newer token gave one; returns how many rows changed."""
    return len(await connection.fetch(ORDER, list(pod_uids), kind.value, token))


async def bury(connection: Queryable, deaths: Sequence[PodDeath]) -> int:
    """Note why workers died; the rescuer takes their rows at its next tick. Returns how many rows changed.

    Where the rescuer was first, the recorded attempts get the cause, and infrastructure gives the crash back.
    """
    ordered = sorted(deaths, key=lambda d: d.pod_uid)
    arrays = [d.pod_uid for d in ordered], [d.cause.value for d in ordered], [d.at for d in ordered]
    early = await connection.fetch(BURY, *arrays)
    late = await connection.fetch(BURY_LATE, *arrays, DEATH_LEASE, sorted(INFRASTRUCTURE))
    return len(early) + len(late)
