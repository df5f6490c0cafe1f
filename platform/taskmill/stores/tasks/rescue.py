"""What the rescuer reads: workers whose lease ran out, their running rows, and rows far past their deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from taskmill.states import Cause
from taskmill.stores import constants as c
from taskmill.stores.database import Connection, Queryable, Record

DEATH_LEASE = "lease expired"  # workers.death：被救援者判死
DEATH_POD = "pod ended"  # 同上，但集群已说容器没了；其余写法都是工作进程自己注销

# 正在续租的行锁着，跳过：它活着。death_cause 有值的不必等租约：集群已确认容器终止，它不会再续租，也写不了什么；
# 万一说错了也无妨：死编号的栅栏挡住它的一切写入，它会以新编号重来（不变量 3）
_SILENT = "dead_at is null and (lease_until < now() or death_cause is not null)"
MARK = f"""
with late as materialized (
  select id from taskmill.workers where {_SILENT}
  order by id for update skip locked
)
update taskmill.workers w
set dead_at = now(), death = case when w.death_cause is null then $1 else $2 end, running = 0, ready = false
from late where w.id = late.id returning w.id
"""
# 先沿索引跳着找出占着任务的工作进程，再看谁已死或查无此人；held 数的是那个进程手里所有的行
_HOLDERS = """holders as (
  (select worker_id from taskmill.tasks where state = 'running' and worker_id is not null order by worker_id limit 1)
  union all
  select n.worker_id from holders h cross join lateral (
    select worker_id from taskmill.tasks
    where state = 'running' and worker_id > h.worker_id order by worker_id limit 1) n
)"""
LOST = f"""
with recursive {_HOLDERS}, gone as materialized (
  select h.worker_id,
         case when coalesce(w.death, $1) in ($1, $2) then coalesce(w.death_cause, 'crash') end as cause,
         (select count(*) from taskmill.tasks x
          where x.state = 'running' and x.worker_id = h.worker_id) as held
  from holders h left join taskmill.workers w on w.id = h.worker_id
  where w.id is null or w.dead_at is not null
)
select t.id, t.claim_no, t.worker_id, t.attempt, t.max_attempts, t.crash_count,
       t.cancel_requested_at is not null as cancelling, g.cause, g.held, t.queue, t.kind, k.on_oom_queue, t.concurrency_key, t.slot
from gone g join taskmill.tasks t on t.worker_id = g.worker_id and t.state = 'running'
left join taskmill.kinds k on k.kind = t.kind and k.version = t.kind_version
order by t.id for update of t skip locked
"""
# 截止之后又续过租、而没说有它的结果待写的，才是真超时。说了的：结果也许被锁或断线耽误，它是按时结束的。
# 时钟往前跳过（$5 秒，跳到 $6）：在那之前开始的，截止按今天的钟晚这么多
OVERDUE = """
select t.id, t.claim_no, t.worker_id, t.attempt, t.max_attempts, t.crash_count,
       t.cancel_requested_at is not null as cancelling, null as cause, 0::bigint as held, t.queue, t.kind, null as on_oom_queue, t.concurrency_key, t.slot
from taskmill.tasks t
where t.state = 'running' and t.deadline_at < now() - $1 * interval '1 second'
  and (t.started_at >= to_timestamp($6) or t.deadline_at + $5 * interval '1 second' < now() - $1 * interval '1 second')
  and exists (select from taskmill.workers w where w.id = t.worker_id and w.dead_at is null
              and w.lease_until - $3 * interval '1 second' > t.deadline_at + $4 * interval '1 second'
              and t.id <> all (w.settling))
order by t.id limit $2 for update of t skip locked
"""
# 闲的时候一轮只问这一句：时间是判断租约与截止所用的；写不碰任何行，但只读时照样被拒。
# 有没有事，宁可多说：过了截止而还轮不到救援的也算
LOOK = f"""
with writes as (update taskmill.workers set running = running where false)
select extract(epoch from now())::float8 as now_s,
       exists (select from taskmill.workers where {_SILENT})
    or exists (with recursive {_HOLDERS}
      select from holders h left join taskmill.workers w on w.id = h.worker_id where w.id is null or w.dead_at is not null)
    or exists (select from taskmill.tasks where state = 'running' and deadline_at < now() - $1 * interval '1 second'
               order by worker_id limit 1) as work
"""


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A running row to take back, with its fence.

    `cause`: why its worker died, or None if it stopped by itself; one that fell silent or is unknown has crashed.
    `held`: how many rows that worker ran in all. `on_oom_queue`: where the kind wants its
    tasks to go after a death for want of memory.
    """

    id: UUID
    claim_no: int
    worker_id: UUID
    attempt: int
    max_attempts: int
    crash_count: int
    cancelling: bool
    cause: Cause | None
    held: int
    queue: str
    kind: str
    on_oom_queue: str | None
    concurrency_key: str | None = None
    slot: int | None = None


async def look(connection: Queryable, grace_s: float) -> tuple[float, bool]:
    """Return the transaction's time (Unix seconds) from a database that takes writes; else nobody can renew a lease.

    And whether there may be something to do: a silent worker, rows of a dead one, a deadline that passed more than `grace_s` ago.
    """
    row = await connection.fetchrow(LOOK, grace_s)
    return (row["now_s"], row["work"]) if row is not None else (0.0, False)


async def mark_dead(connection: Connection) -> list[UUID]:
    """Mark workers dead whose lease has run out by the database's clock, or whose pod has ended; returns their ids."""
    return [row["id"] for row in await connection.fetch(MARK, DEATH_LEASE, DEATH_POD)]


async def fetch_lost(connection: Connection) -> Sequence[RunningRow]:
    """Lock and return every running row whose worker is dead or unknown."""
    return [_row(record) for record in await connection.fetch(LOST, DEATH_LEASE, DEATH_POD)]


async def fetch_overdue(
    connection: Connection, grace_s: float, limit: int, lease_s: float, stepped: tuple[float, float] = (0.0, 0.0)
) -> Sequence[RunningRow]:
    """Lock and return running rows of living workers whose deadline passed more than `grace_s` seconds ago.

    Only of workers that have renewed their lease of `lease_s` since, and did not say that the outcome waits to be written.
    `stepped`: by how many seconds the database's clock stepped forward, and to which time (Unix seconds).
    """
    given = (grace_s, limit, lease_s, c.REPORT_GRACE_S, *stepped)
    return [_row(record) for record in await connection.fetch(OVERDUE, *given)]


def _row(record: Record) -> RunningRow:
    fields: dict[str, Any] = dict(record)
    cause = fields.pop("cause")
    return RunningRow(**fields, cause=None if cause is None else Cause(cause))
