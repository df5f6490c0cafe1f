"""What the rescuer reads: workers whose lease ran out, their running rows, and rows far past their deadline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from taskmill.stores.database import Connection, Queryable

DEATH_LEASE = "lease expired"  # workers.death：被救援者判死；其余写法都是工作进程自己注销

# 正在续租的行锁着，跳过：它活着
MARK = """
with late as materialized (
  select id from taskmill.workers where dead_at is null and lease_until < now()
  order by id for update skip locked
)
update taskmill.workers w set dead_at = now(), death = $1, running = 0
from late where w.id = late.id returning w.id
"""
# 先沿索引跳着找出占着任务的工作进程，再看谁已死或查无此人；suspects 数的是那个进程手里所有可疑的行
LOST = """
with recursive holders as (
  (select worker_id from taskmill.tasks where state = 'running' and worker_id is not null order by worker_id limit 1)
  union all
  select n.worker_id from holders h cross join lateral (
    select worker_id from taskmill.tasks
    where state = 'running' and worker_id > h.worker_id order by worker_id limit 1) n
), gone as materialized (
  select h.worker_id, coalesce(w.death, $1) = $1 as crashed,
         (select count(*) from taskmill.tasks x
          where x.state = 'running' and x.worker_id = h.worker_id and x.crash_count >= $2) as suspects
  from holders h left join taskmill.workers w on w.id = h.worker_id
  where w.id is null or w.dead_at is not null
)
select t.id, t.claim_no, t.worker_id, t.attempt, t.max_attempts, t.crash_count,
       t.cancel_requested_at is not null as cancelling, g.crashed, g.suspects
from gone g join taskmill.tasks t on t.worker_id = g.worker_id and t.state = 'running'
order by t.id for update of t skip locked
"""
OVERDUE = """
select t.id, t.claim_no, t.worker_id, t.attempt, t.max_attempts, t.crash_count,
       t.cancel_requested_at is not null as cancelling, false as crashed, 0::bigint as suspects
from taskmill.tasks t
where t.state = 'running' and t.deadline_at < now() - $1 * interval '1 second'
  and exists (select from taskmill.workers w where w.id = t.worker_id and w.dead_at is null)
order by t.id limit $2 for update of t skip locked
"""


@dataclass(frozen=True, slots=True)
class RunningRow:
    """A running row to take back, with its fence.

    `crashed`: its worker fell silent or is unknown, rather than stopping by itself. `suspects`: how many rows with a
    nearly used crash budget that worker held.
    """

    id: UUID
    claim_no: int
    worker_id: UUID
    attempt: int
    max_attempts: int
    crash_count: int
    cancelling: bool
    crashed: bool
    suspects: int


async def ping(connection: Queryable) -> None:
    """Show that the database answers."""
    await connection.execute("select 1")


async def mark_dead(connection: Connection) -> list[UUID]:
    """Mark workers dead whose lease has run out by the database's clock; returns their ids."""
    return [row["id"] for row in await connection.fetch(MARK, DEATH_LEASE)]


async def fetch_lost(connection: Connection, suspect_from: int) -> Sequence[RunningRow]:
    """Lock and return every running row whose worker is dead or unknown; a suspect has crash_count ≥ `suspect_from`."""
    return [RunningRow(*row) for row in await connection.fetch(LOST, DEATH_LEASE, suspect_from)]


async def fetch_overdue(connection: Connection, grace_s: float, limit: int) -> Sequence[RunningRow]:
    """Lock and return running rows of living workers whose deadline passed more than `grace_s` seconds ago."""
    return [RunningRow(*row) for row in await connection.fetch(OVERDUE, grace_s, limit)]
