"""Worker processes as the API shows them."""

from __future__ import annotations

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models.worker import Worker

STOPPED = "stopped"  # 有序结束的工作进程自己写下的死因
# 租约是否过期由数据库的时钟决定
STATE = case(
    (Worker.dead_at.is_not(None) & (Worker.death == STOPPED), STOPPED),
    (Worker.dead_at.is_not(None), "dead"),
    (Worker.lease_until < func.now(), "lost"),
    (Worker.draining, "draining"),
    else_="live",
)


async def fetch_page(session: AsyncSession, *, limit: int, offset: int) -> list[tuple[Worker, str]]:
    """Return incarnations and their states, the living first, then by start, newest first.

    A state is live, draining, lost (the lease expired, not yet rescued), stopped (ended in order) or dead.
    """
    statement = (
        select(Worker, STATE.label("state"))
        .order_by(Worker.dead_at.is_not(None), Worker.started_at.desc(), Worker.id)
        .limit(limit)
        .offset(offset)
    )
    return [(worker, state) for worker, state in await session.execute(statement)]


async def count_by_state(session: AsyncSession) -> dict[str, int]:
    """Count workers by state."""
    named = select(STATE.label("state")).subquery()
    rows = await session.execute(select(named.c.state, func.count()).group_by(named.c.state))
    return {row[0]: row[1] for row in rows}
