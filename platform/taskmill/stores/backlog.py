"""Live counts, queried and never stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import Task
from taskmill.stores.database import Connection

# 计数封顶：伸缩只需要知道「很多」。未封顶时 oldest 是准确的，封顶时取最老的票
BACKLOG = """
select r.ready, r.oldest_wait_s, w.running, d.due_soon, q.paused
from (select count(*) as ready, coalesce(extract(epoch from now() - min(run_at)), 0)::float8 as oldest_wait_s
      from (select run_at from taskmill.tasks where queue = $1 and state = 'available'
            order by priority, ticket_at limit $3) as waiting) as r,
     (select count(*) as running
      from (select 1 from taskmill.tasks where state = 'running' and queue = $1 limit $3) as taken) as w,
     (select count(*) as due_soon
      from (select 1 from taskmill.tasks where state in ('scheduled', 'retryable')
            and run_at <= now() + $2 * interval '1 second' and queue = $1 limit $3) as due) as d,
     (select exists (select from taskmill.queues where name = $1 and paused_at is not null) as paused) as q
"""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in one queue: counts, and the age of the oldest ready task in seconds (0: none)."""

    ready: int
    running: int
    due_soon: int
    oldest_wait_s: float
    paused: bool


@dataclass(frozen=True, slots=True)
class LiveCount:
    """How many live tasks of one queue are in one state."""

    queue: str
    state: str
    n: int


async def backlog(connection: Connection, queue: str, *, soon_s: float, limit: int) -> Backlog:
    """Return the backlog of a queue, zeros if it does not exist; each count stops at `limit`."""
    row = await connection.fetchrow(BACKLOG, queue, soon_s, limit)
    assert row is not None  # noqa: S101 - 聚合查询恒有一行
    return Backlog(row["ready"], row["running"], row["due_soon"], max(0.0, row["oldest_wait_s"]), row["paused"])


async def live_counts(session: AsyncSession) -> Sequence[LiveCount]:
    """Count live tasks by queue and state."""
    statement = select(Task.queue, Task.state, func.count()).group_by(Task.queue, Task.state)
    return [LiveCount(queue, state, n) for queue, state, n in (await session.execute(statement)).all()]
