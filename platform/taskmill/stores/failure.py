"""Groups of failures as the API shows them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.failure import Failure

# 任务的最近一次失败属于这一组，而且它现在处于这些状态之一。从最近的失败看起，够了就停；至多看 $3 次失败
TASKS = """
select a.task_id
from (select task_id, claim_no, finished_at from taskmill.task_attempts
      where fingerprint = $1 order by finished_at desc limit $3) a
where exists (select from (
        select state from taskmill.tasks t where t.id = any (array[a.task_id])
        union all
        select state from taskmill.task_history h where h.id = any (array[a.task_id])) s
      where s.state = any ($2::text[]) offset 0)
  and not exists (select from taskmill.task_attempts n where n.task_id = a.task_id and n.claim_no > a.claim_no offset 0)
order by a.finished_at desc limit $4
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureQuery:
    """What a list of groups is filtered by; None: anything. `before` is the keyset: groups that failed last before that."""

    kind: str | None = None
    queue: str | None = None
    since: datetime | None = None
    before: tuple[datetime, str] | None = None


async def fetch_page(session: AsyncSession, query: FailureQuery, *, limit: int) -> Sequence[Failure]:
    """Return up to `limit` groups, those that failed last first."""
    statement = select(Failure).order_by(Failure.last_at.desc(), Failure.fingerprint.desc()).limit(limit)
    if query.kind is not None:
        statement = statement.where(Failure.kind == query.kind)
    if query.queue is not None:
        statement = statement.where(Failure.queues.contains([query.queue]))
    if query.since is not None:
        statement = statement.where(Failure.last_at >= query.since)
    if query.before is not None:
        statement = statement.where(tuple_(Failure.last_at, Failure.fingerprint) < query.before)
    return (await session.execute(statement)).scalars().all()


async def fetch(session: AsyncSession, fingerprint: str) -> Failure | None:
    """Return one group, None if it is unknown."""
    return await session.get(Failure, fingerprint)


async def fetch_tasks(
    session: AsyncSession, fingerprint: str, states: Collection[str], *, looked: int, limit: int
) -> list[UUID]:
    """Return up to `limit` tasks of a group that are in one of these states, the newest failure first.

    Those whose newest failure is of another group are left out. At most `looked` failures are looked at.
    """
    connection = await session.connection()
    rows = await connection.exec_driver_sql(TASKS, (fingerprint, sorted(states), looked, limit))
    return [row.task_id for row in rows]
