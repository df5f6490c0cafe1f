"""Claim of tasks by tickets, and what becomes of a ticket that could not be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from asyncpg import Record

from taskmill import constants as c
from taskmill.models.task_queue import BARRED
from taskmill.states import By, sources
from taskmill.stores import constants as sc
from taskmill.stores.arrays import Fence, fence_arrays
from taskmill.stores.database import Queryable
from taskmill.stores.tasks.history import state_in

# 没有上限的队列里，公平键只管轮到谁开始：开始了就不占什么
_SET = """
set state = 'running', attempt = t.attempt + 1, claim_no = t.claim_no + 1, worker_id = $3,
    started_at = clock_timestamp(), updated_at = clock_timestamp(), ticket_at = null,
    deadline_at = clock_timestamp() + t.timeout_ms * interval '1 millisecond',
    slot = case when t.fairness_key is null then t.slot else (
      select 2::smallint from taskmill.queues q where q.name = t.queue and q.limited) end
"""
_CLAIMABLE = f"""
      t.id = any (array[u.id]) and t.claim_no = u.claim_no and {state_in(sources(By.CLAIM))}
  and (t.kind || ':' || t.kind_version) = any ($4::text[])
  and (t.expires_at is null or t.expires_at > now()) and coalesce(t.slot, 2) = 2
  and not exists (select from taskmill.queues q where q.name = t.queue and ({BARRED})
                  and (q.paused_at is not null or t.slot is distinct from 2))
"""
_RETURNING = """
returning t.id, t.claim_no, t.attempt, t.max_attempts, t.crash_count, t.queue, t.kind, t.kind_version, t.args, t.meta,
          t.tags, t.deadline_at, t.timeout_ms, t.started_at, t.concurrency_key, t.slot, t.fairness_key is not null as fair,
          case when t.slot is not null then exists (
            select from taskmill.queues q where q.name = t.queue and (q.rate is not null or q.rate_per_key is not null)) end as rated
"""
# 转移 claim：available → running。
# 别人锁着的行跳过：一把锁不能让同一批里的几百个任务陪着等。只拦着它结束的（key share，有人来等它）不算锁着
CLAIM = f"""
with chosen as materialized (
  select t.id from unnest($1::uuid[], $2::int[]) as u(id, claim_no) join taskmill.tasks t on {_CLAIMABLE}
  where t.crash_count < {c.SUSPECT_FROM} for no key update of t skip locked
)
update taskmill.tasks t {_SET}
from chosen where t.id = any (array[chosen.id])
{_RETURNING}
"""
# 转移 claim：可疑的（再崩一次就用完预算）独占一个进程，在领取时就排他：手里一行也没有才领，一次一个。
# 领了再交还就晚了：毒丸一起步就带走进程，救援者看到它有伴，不能加到上限，于是永远循环
CLAIM_SUSPECT = f"""
with chosen as materialized (
  select t.id from unnest($1::uuid[], $2::int[]) as u(id, claim_no) join taskmill.tasks t on {_CLAIMABLE}
  where t.crash_count >= {c.SUSPECT_FROM} and not exists (
    select from taskmill.tasks x where x.worker_id = $3 and x.state = 'running')
  order by u.id limit 1 for no key update of t skip locked
)
update taskmill.tasks t {_SET}
from chosen where t.id = any (array[chosen.id])
{_RETURNING}
"""
SUSPECTS = f"""
select count(*) from unnest($1::uuid[], $2::int[]) as u(id, claim_no) join taskmill.tasks t on {_CLAIMABLE.replace("$4", "$3")}
where t.crash_count >= {c.SUSPECT_FROM}
"""
# 转移 decline：available → scheduled（类型不归我管，5 秒后再试；可疑而没轮到，1 秒后再试）；暂停、过期或被上限挡着的只撕票。
# 别人锁着的不动：票照样撕，行由审计者当作丢了票的找回
DECLINE = f"""
with u as materialized (
  select t.id, t.claim_no,
         case when (t.kind || ':' || t.kind_version) <> all ($3::text[]) then {sc.UNSERVED_DELAY_S}
              when t.crash_count >= {c.SUSPECT_FROM} then {sc.SUSPECT_DELAY_S} end as delay_s
  from unnest($1::uuid[], $2::int[]) as u(id, claim_no)
  join taskmill.tasks t on t.id = any (array[u.id]) and t.claim_no = u.claim_no and {state_in(sources(By.CLAIM))}
  for no key update of t skip locked
)
update taskmill.tasks t
set state = case when u.delay_s is null then t.state else 'scheduled' end, slot = case when u.delay_s is null then t.slot end,
    run_at = coalesce(now() + u.delay_s * interval '1 second', t.run_at), ticket_at = null, updated_at = now()
from u
where t.id = any (array[u.id]) and t.claim_no = u.claim_no and {state_in(sources(By.CLAIM))}
returning case when u.delay_s = {sc.UNSERVED_DELAY_S} then t.kind || ':' || t.kind_version end as unserved
"""
RUNNING_OF = """
select id, claim_no from taskmill.tasks where worker_id = $1 and state = 'running'
"""


async def claim(connection: Queryable, tickets: Sequence[Fence], worker_id: UUID, served: Sequence[str]) -> list[Record]:
    """Claim the rows of `tickets` (id, claim_no; sorted here) whose `kind:version` is in `served`; returns them.

    Rows with a nearly used crash budget are left to `claim_suspect`; rows that somebody else has locked are left out.
    """
    return await connection.fetch(CLAIM, *fence_arrays(tickets), worker_id, served)


async def claim_suspect(
    connection: Queryable, tickets: Sequence[Fence], worker_id: UUID, served: Sequence[str]
) -> list[Record]:
    """Claim at most one suspect, and none while this worker holds any row; not safe to run twice at once for a worker."""
    return await connection.fetch(CLAIM_SUSPECT, *fence_arrays(tickets), worker_id, served)


async def suspects(connection: Queryable, tickets: Sequence[Fence], served: Sequence[str]) -> int:
    """Return how many of `tickets` name a claimable suspect."""
    return int(await connection.fetchval(SUSPECTS, *fence_arrays(tickets), served) or 0)


async def decline(connection: Queryable, tickets: Sequence[Fence], served: Sequence[str]) -> list[str | None]:
    """Take back tickets that were not claimed; returns for each the `kind:version` if that is not served, else None.

    Unserved kinds wait 5 s, suspects whose turn it is not 1 s, others for the stager, and those that somebody else has
    locked for the auditor.
    """
    return [row["unserved"] for row in await connection.fetch(DECLINE, *fence_arrays(tickets), served)]


async def running_of(connection: Queryable, worker_id: UUID) -> set[Fence]:
    """Return (id, claim_no) of every row that PostgreSQL says this worker runs."""
    return {(row["id"], row["claim_no"]) for row in await connection.fetch(RUNNING_OF, worker_id)}
