"""Live work counted by queue: the one query behind scaling, queues, stats and metrics."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.task_queue import HELD_BY_LIMITS

# 活动表只有未完成的任务，一遍扫完；阈值用数据库的时钟
BACKLOG = text(f"""
select queue,
       count(*) filter (where state = 'scheduled') as scheduled,
       count(*) filter (where state = 'available') as available,
       count(*) filter (where state = 'running') as running,
       count(*) filter (where {HELD_BY_LIMITS}) as held,
       count(*) filter (where state = 'retryable') as retryable,
       count(*) filter (where state = 'blocked') as blocked,
       count(*) filter (where state in ('scheduled', 'retryable')
                          and run_at <= now() + make_interval(secs => :due_soon_s)) as due_soon,
       coalesce(greatest(extract(epoch from now() - min(run_at) filter (where state = 'available')), 0), 0)::float8
         as oldest_wait_s
from taskmill.tasks
group by queue
""")


@dataclass(frozen=True, slots=True)
class Backlog:
    """Live tasks of one queue by state; `held` available ones that limits hold; `due_soon` counts waiting ones that come due shortly; times in seconds."""

    queue: str
    scheduled: int = 0
    available: int = 0
    running: int = 0
    held: int = 0
    retryable: int = 0
    blocked: int = 0
    due_soon: int = 0
    oldest_wait_s: float = 0.0

    @property
    def total(self) -> int:
        """Return how many live tasks it has."""
        return self.scheduled + self.available + self.running + self.retryable + self.blocked


async def load(session: AsyncSession, due_soon_s: float) -> dict[str, Backlog]:
    """Count live tasks by queue; queues without any are absent."""
    rows = await session.execute(BACKLOG, {"due_soon_s": due_soon_s})
    return {row.queue: Backlog(*row) for row in rows}
