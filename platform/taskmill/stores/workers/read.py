"""Worker processes as the API shows them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from taskmill.models import Worker


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One incarnation; `state` is live, draining, lost (lease expired, not yet rescued), stopped (ended in order) or dead."""

    id: UUID
    hostname: str
    pid: int
    version: str
    queues: list[str]
    kinds: list[str]
    concurrency: int
    running: int
    started_at: datetime
    lease_until: datetime
    dead_at: datetime | None
    death: str | None
    death_cause: str | None
    pod: str | None
    bundle: str | None
    ready: bool
    order: str
    state: str


STOPPED = "stopped"  # 有序结束的工作进程自己写下的死因
# 租约是否过期由数据库的时钟决定
STATE = case(
    (Worker.dead_at.is_not(None) & (Worker.death == STOPPED), STOPPED),
    (Worker.dead_at.is_not(None), "dead"),
    (Worker.lease_until < func.now(), "lost"),
    (Worker.draining, "draining"),
    else_="live",
)


async def fetch_page(session: AsyncSession, *, limit: int, offset: int) -> list[WorkerRow]:
    """Return workers, the living first, then by start, newest first."""
    statement = (
        select(
            Worker.id,
            Worker.hostname,
            Worker.pid,
            Worker.version,
            Worker.queues,
            Worker.kinds,
            Worker.concurrency,
            Worker.running,
            Worker.started_at,
            Worker.lease_until,
            Worker.dead_at,
            Worker.death,
            Worker.death_cause,
            Worker.pod,
            Worker.bundle,
            Worker.ready,
            Worker.order_kind,
            STATE.label("state"),
        )
        .order_by(Worker.dead_at.is_not(None), Worker.started_at.desc(), Worker.id)
        .limit(limit)
        .offset(offset)
    )
    return [WorkerRow(*row) for row in await session.execute(statement)]


async def count_by_state(session: AsyncSession) -> dict[str, int]:
    """Count workers by state."""
    named = select(STATE.label("state")).subquery()
    rows = await session.execute(select(named.c.state, func.count()).group_by(named.c.state))
    return {row[0]: row[1] for row in rows}
