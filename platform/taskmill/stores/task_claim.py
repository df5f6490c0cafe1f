"""Claim of tasks by tickets, and what becomes of a ticket that could not be claimed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asyncpg import Record

from taskmill import constants as c
from taskmill.stores.database import Queryable

# 转移 claim：available → running。coalesce 让规划器用不上部分索引，只走主键（统计过期时快 30 倍）
CLAIM = """
update taskmill.tasks t
set state = 'running', attempt = t.attempt + 1, claim_no = t.claim_no + 1, worker_id = $3,
    started_at = clock_timestamp(), updated_at = clock_timestamp(), ticket_at = null,
    deadline_at = clock_timestamp() + t.timeout_ms * interval '1 millisecond'
from unnest($1::uuid[], $2::int[]) as u(id, claim_no)
where t.id = u.id and t.claim_no = u.claim_no and coalesce(t.state, 'available') = 'available'
  and (t.kind || ':' || t.kind_version) = any ($4::text[])
  and (t.expires_at is null or t.expires_at > now())
  and not exists (select from taskmill.queues q where q.name = t.queue and q.paused_at is not null)
returning t.id, t.claim_no, t.attempt, t.max_attempts, t.crash_count, t.queue, t.kind, t.kind_version, t.args, t.meta,
          t.tags, t.deadline_at, t.timeout_ms, t.started_at
"""
# 转移 decline：available → scheduled（类型不归我管，5 秒后再试）；暂停或过期的只撕票
DECLINE = """
update taskmill.tasks t
set state = case when (t.kind || ':' || t.kind_version) = any ($3::text[]) then t.state else 'scheduled' end,
    run_at = case when (t.kind || ':' || t.kind_version) = any ($3::text[]) then t.run_at else now() + $4 * interval '1 second' end,
    ticket_at = null, updated_at = now()
from unnest($1::uuid[], $2::int[]) as u(id, claim_no)
where t.id = u.id and t.claim_no = u.claim_no and coalesce(t.state, 'available') = 'available'
returning t.id
"""
RUNNING_OF = """
select id, claim_no from taskmill.tasks where worker_id = $1 and state = 'running'
"""


async def claim(
    connection: Queryable, tickets: Sequence[tuple[UUID, int]], worker_id: UUID, served: Sequence[str]
) -> list[Record]:
    """Claim the rows of `tickets` (id, claim_no; sorted here) whose `kind:version` is in `served`; returns them."""
    ordered = sorted(tickets)
    return await connection.fetch(CLAIM, [t[0] for t in ordered], [t[1] for t in ordered], worker_id, served)


async def decline(connection: Queryable, tickets: Sequence[tuple[UUID, int]], served: Sequence[str]) -> int:
    """Take back tickets that were not claimed: unserved kinds wait 5 s, others wait for the stager; returns how many."""
    ordered = sorted(tickets)
    rows: list[Any] = await connection.fetch(
        DECLINE, [t[0] for t in ordered], [t[1] for t in ordered], served, c.UNSERVED_DELAY_S
    )
    return len(rows)


async def running_of(connection: Queryable, worker_id: UUID) -> set[tuple[UUID, int]]:
    """Return (id, claim_no) of every row that PostgreSQL says this worker runs."""
    return {(row["id"], row["claim_no"]) for row in await connection.fetch(RUNNING_OF, worker_id)}
